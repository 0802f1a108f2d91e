"""The weights of a training that goes on from another one's network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from napari_segtrain.config import RunError
from napari_segtrain.runs import find_checkpoint, load_checkpoint

_KNOWN = "encoder."
"""Begin of the names of those weights that have to fit; a decoder may be new."""


def begin_with(network: nn.Module, weights: str | Path) -> tuple[str, ...]:
    """Give a new network the weights of a trained one, where both have the same tensors.

    Parameters
    ----------
    network
        On its device already.
    weights
        A run folder, or a checkpoint file.

    Returns
    -------
    tuple of str
        Sentences for the user: where the weights are from, and what of the network is new.

    Raises
    ------
    RunError
        When there is no checkpoint, or the encoders differ.
    """
    file = find_checkpoint(weights)
    saved = load_checkpoint(file, required=("model",))["model"]
    own = network.state_dict()
    fitting = {name for name, value in own.items() if name in saved and saved[name].shape == value.shape}
    if differing := [name for name in own if name.startswith(_KNOWN) and name not in fitting]:
        raise RunError(
            f"{file}: its network has another encoder than this experiment ({len(differing)} of the "
            "encoder's tensors differ), so that training cannot begin with its weights: take model_config "
            "and tr_config.patch_size from the run's config.yaml, or leave model_config.weights empty"
        )
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(saved[name])
    parts = {name.split(".")[1].removeprefix("_") for name in own if name not in fitting}
    new = f"; new are the outputs {', '.join(sorted(parts))}" if parts else ""
    return (f"the network begins with the weights of {file}{new}",)
