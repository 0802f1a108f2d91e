"""What is said of a training that is stepped through."""

from __future__ import annotations

from napari_segtrain.network.hardware import Number
from napari_segtrain.training import Parts
from napari_segtrain.training.callbacks.nan_guard import is_too_many

STEPS = (
    "initialize_optimizer",
    "prepare_batch",
    "zero_gradients",
    "forward_pass",
    "calculate_loss",
    "backward_pass",
    "optimizer_step",
)
"""The seven steps in their order."""
_NEEDS = {
    "run_batches": "initialize_optimizer",
    "show_activations": "forward_pass",
    "what_if": "backward_pass",
    "overfit": "prepare_batch",
}
"""What has to come before a look at the state."""
LOST = "The network is gone, and the layers stay: define the model anew"
"""How to go on when a GPU stopped working."""


def of_network(parts: Parts) -> str:
    """Say what there is to step through, and why it may not become the full training."""
    resolved, loader = parts.resolved, parts.loader
    outputs = ", ".join(head.name for head in parts.heads)
    said = (
        f"A network of {resolved.parameters / 1e6:.2f} M parameters on {resolved.where}, which learns "
        f"{outputs}. An epoch has {many(len(loader), 'batch')} of {many(resolved.batch_size, 'patch')}"
    )
    return sentences(said, *resolved.messages)


def why_not(action: str, expected: str, *, adds_up: bool = False) -> str:
    """Say why something cannot be asked for while another step is the next one.

    Parameters
    ----------
    action, expected
        What is asked for, and the next step.
    adds_up
        Whether the gradients of this batch are added to those of another one.
    """
    if action == "zero_gradients" and adds_up:
        return (
            "the gradients of this batch are added to those of the batches before it, which share its step "
            f"of the optimizer: zero_gradients would forget these; next is {expected}"
        )
    if action in STEPS and STEPS.index(action) < STEPS.index(expected):
        return f"{action} was taken already; next is {expected}"
    return f"{_NEEDS.get(action, expected)} must come before {action}"


def no_number(losses: str, bad: int, precision: Number) -> str:
    """Say what a loss that is no number means, after so many in a row."""
    if not is_too_many(bad, precision):
        return f"The loss is no number ({losses}): too large for 16 bits. The weights will stay as they are"
    return (
        f"The loss is no number ({losses}): a step would ruin the weights. End, lower the learning rate in "
        "the Train dock, and define the model anew"
    )


def of_the_end(parts: Parts, epoch: int, index: int, *, strayed: bool) -> str:
    """Say that the full training would be over where the next batch is this one; nothing before.

    Parameters
    ----------
    parts
        The experiment.
    epoch, index
        The next batch, both from 0.
    strayed
        Whether something was done that the full training does not do.
    """
    epochs, rate = parts.epochs, "the learning rate stays at its end"
    if epoch < epochs:
        return ""
    if (epoch, index) != (epochs, 0):
        return f"This is past the end of the full training: {rate}"
    done = "The only epoch is" if epochs == 1 else f"All {epochs} epochs are"
    same = "" if parts.deviations or strayed else ": these are the weights of the full training"
    return f"{done} done{same}; {rate}"


def sentences(*said: str) -> str:
    """Join what there is to say."""
    return ". ".join(filter(None, said))


def many(number: int, what: str) -> str:
    """Return such as ``"1 batch"`` or ``"2 batches"``."""
    return f"1 {what}" if number == 1 else f"{number} {what}es"
