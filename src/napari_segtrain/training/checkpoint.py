"""What a checkpoint says of a training, and going on from it bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from napari_segtrain.config import RunError
from napari_segtrain.network import NetworkPlan

from .ema import AveragedWeights
from .monitor import Monitor
from .randomness import random_states
from .schedules import Journey
from .tally import LossTally
from .team import Team
from .values import Optimization

HISTORIES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
_NETWORK = "network."


class InTraining(Protocol):
    """What of a training its checkpoint is about; `SegmentationModule` explains and has it."""

    network: nn.Module
    optimization: Optimization
    ema: AveragedWeights | None
    journey: Journey
    monitor: Monitor
    train_tally: LossTally
    team: Team
    rows: list[dict[str, float | int | None]]
    epochs_done: int
    batches_done: int
    last_rate: float
    pending_random_states: Mapping[str, Any] | None

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def metric_states(self) -> dict[str, dict[str, Tensor]]:
        """Return what the scores of training have counted so far in this epoch."""

    def load_metric_states(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from what `metric_states` returned."""


def training_state(module: InTraining) -> dict[str, Any]:
    """Return the keys that a training adds to Lightning's checkpoint.

    ``model`` has the weights to predict with: the averaged ones where there are any. The network's own
    are in Lightning's ``state_dict``; tensors that both have are stored once.
    """
    step = module.optimization
    ema = module.ema
    states = module.team.gather(random_states())
    return {
        "model": dict(module.network.state_dict()) if ema is None else ema.weights(),
        "optimizer": step.optimizer.state_dict(),
        "scheduler": None if step.scheduler is None else step.scheduler.state_dict(),
        "scaler": None if step.scaler is None else step.scaler.state_dict(),
        "epoch": module.epochs_done,
        "batch": module.batches_done,
        "step": step.step,
        "learning_rate": module.last_rate,
        "ema_updates": None if ema is None else ema.updates,
        "losses": module.train_tally.state_dict(),
        "scores": module.metric_states(),
        "monitor": module.monitor.state_dict(),
        "journey": module.journey.state_dict(),
        "rows": [dict(row) for row in module.rows],
        "histories": {name: [row.get(name) for row in module.rows] for name in HISTORIES},
        "random_states": states[0],
        "random_states_of_others": states[1:],
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def own_weights(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network's own weights, which training goes on with."""
    if checkpoint.get("ema_updates") is None:
        return dict(checkpoint["model"])
    prefixed = checkpoint["state_dict"]
    return {name.removeprefix(_NETWORK): v for name, v in prefixed.items() if name.startswith(_NETWORK)}


def restore_training_state(module: InTraining, checkpoint: Mapping[str, Any]) -> None:
    """Bring a module to where it was when the checkpoint was written.

    The random state follows when the training starts, so that nothing in between can use it up.

    Raises
    ------
    RunError
        When the checkpoint is not one that a training can go on from.
    """
    try:
        module.network.load_state_dict(own_weights(checkpoint))
        _restore_optimization(module, checkpoint)
        if module.ema is not None:
            # An average that begins only now begins at the weights as they are.
            module.ema.load(checkpoint["model"], int(checkpoint["ema_updates"] or 0))
        module.train_tally.load_state_dict(checkpoint["losses"], module.device)
        module.load_metric_states(checkpoint["scores"])
        module.monitor.load_state_dict(checkpoint["monitor"])
        module.rows = [dict(row) for row in checkpoint["rows"]]
        module.epochs_done = int(checkpoint["epoch"])
        module.batches_done = int(checkpoint["batch"])
        module.last_rate = float(checkpoint["learning_rate"])
        module.pending_random_states = _own_random_states(module.team, checkpoint)
    except KeyError as error:
        raise RunError(
            f"the checkpoint lacks {error}, so that training cannot go on from it; it can still predict"
        ) from None
    except RuntimeError as error:
        raise RunError(f"the checkpoint does not fit the network: {error}") from None


def _own_random_states(team: Team, checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the random state of this process; None for one that was not there when it was written."""
    states = [checkpoint["random_states"], *checkpoint.get("random_states_of_others", ())]
    found: Mapping[str, Any] | None = states[team.rank] if team.rank < len(states) else None
    return found


def _restore_optimization(module: InTraining, checkpoint: Mapping[str, Any]) -> None:
    step = module.optimization
    settings = [{k: v for k, v in group.items() if k != "params"} for group in step.optimizer.param_groups]
    step.optimizer.load_state_dict(checkpoint["optimizer"])
    # Moments come from the checkpoint, settings from the configuration, so that a resumed run can be given
    # a lower learning rate or more epochs. With the same configuration they are the same.
    for group, wanted in zip(step.optimizer.param_groups, settings, strict=True):
        group.update(wanted)
    if step.scheduler is not None and checkpoint["scheduler"] is not None:
        bases = list(step.scheduler.base_lrs)
        step.scheduler.load_state_dict(checkpoint["scheduler"])
        step.scheduler.base_lrs = bases
        module.journey.load_state_dict(checkpoint["journey"])
        rates = [
            base * rate(step.scheduler.last_epoch)
            for base, rate in zip(bases, step.scheduler.lr_lambdas, strict=True)
        ]
        for group, rate in zip(step.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        step.scheduler._last_lr = rates
    if step.scaler is not None and checkpoint["scaler"] is not None:
        step.scaler.load_state_dict(checkpoint["scaler"])
    module.optimization = step.at(int(checkpoint["step"]))


def check_same_network(saved: NetworkPlan, wanted: NetworkPlan, where: str) -> None:
    """Refuse to go on with another network than the one that was saved.

    Raises
    ------
    RunError
        Names every difference, and what to do.
    """
    old, new = saved.to_dict(), wanted.to_dict()
    differences = [
        f"{name} was {_short(old.get(name))} and is now {_short(new.get(name))}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    if differences:
        raise RunError(
            f"{where} is of another network than the configuration describes: {'; '.join(differences)}. "
            "Resume with the settings the run was started with, or start a new run"
        )


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        heads = [f"{h['name']} ({h['out_channels']})" for decoder in value for h in decoder["heads"]]
        return ", ".join(heads)
    return str(value)
