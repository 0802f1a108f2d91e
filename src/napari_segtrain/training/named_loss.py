"""A loss by its name, for those who take the steps by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from napari_segtrain.config import SHORT_LOSSES, ConfigError, TrainingError, did_you_mean
from napari_segtrain.losses import LOSSES, create


class NamedLoss:
    """Compares every output of a network, as it is, with its target, by one loss; the sum is minimised.

    No activation is applied to outputs: losses that want raw output (see the reference) apply their own. The
    losses of an experiment, with weights and activations, are a `MultiTaskLoss`.

    Parameters
    ----------
    name
        ``mse``, ``mae``, ``huber``, or the name of any loss in the reference.

    Raises
    ------
    ConfigError
        When there is no such loss.
    """

    def __init__(self, name: str) -> None:
        self.name = SHORT_LOSSES.get(name, name)
        if self.name not in LOSSES:
            raise ConfigError(f"loss {name!r} is unknown. {did_you_mean(name, [*SHORT_LOSSES, *LOSSES])}")
        self._loss = create(self.name)

    def __call__(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor], epoch: int) -> Tensor:
        """Return the sum over outputs, a scalar.

        Parameters
        ----------
        outputs
            Raw output ``(B, C, *spatial)`` by name; of a list of them the finest, which is the first.
        batch
            The target of each by its name, and where it is known as ``"<name>_mask"``, else everywhere.
        epoch
            Counted from 0; it does not matter here.

        Raises
        ------
        TrainingError
            When a target is missing, or cannot be compared by this loss.
        """
        total: Tensor | None = None
        for name, output in outputs.items():
            finest = output[0] if isinstance(output, list) else output
            value = self._one(name, finest, batch)
            total = value if total is None else total + value
        if total is None:
            raise TrainingError(f"{self.name} has nothing to compare: the network returned no output")
        return total

    def _one(self, name: str, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        if name not in batch:
            raise TrainingError(f"the batch has no target for the output {name!r}; it has {sorted(batch)}")
        target = batch[name]
        if not target.is_floating_point() and "classes" not in LOSSES[self.name].compares:
            able = ", ".join(known for known, spec in LOSSES.items() if "classes" in spec.compares)
            raise TrainingError(
                f"{self.name} compares numbers, and the target {name!r} has class numbers. Losses that can: "
                f"{able}"
            )
        known = batch.get(f"{name}_mask")
        if known is None:
            known = target.new_ones((len(target), 1, *target.shape[2:])).bool()
        try:
            value: Tensor = self._loss(output, target, known)
        except ValueError as error:
            raise TrainingError(f"{self.name} cannot judge the output {name!r}: {error}") from None
        return value
