"""What can be seen of a batch: images, targets, predictions, features, gradients, in shared files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from napari_segtrain.losses.multitask import activated
from napari_segtrain.runs import StepPicture
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.targets import Head
from napari_segtrain.targets.colours import scalar_limits

Group = Literal["batch", "prediction", "activations", "gradient"]
Array = npt.NDArray[Any]
_SAMPLE = 200_000
"""About how many numbers percentiles are taken from."""


class Pictures:
    """Writes what can be looked at.

    Parameters
    ----------
    scratch
        Folder that the process which shows them can open.
    heads
        The outputs of the network.
    """

    def __init__(self, scratch: Scratch, heads: Sequence[Head]) -> None:
        self._scratch = scratch
        self._heads = {head.name: head for head in heads}
        self._numbers: dict[tuple[str, str], int] = {}

    def of_batch(self, tensors: Mapping[str, Tensor]) -> list[StepPicture]:
        """Return the image as the network gets it, and what it shall say of it.

        Parameters
        ----------
        tensors
            ``"image"`` (B, C, *spatial), and each head's target and mask.
        """
        image = _numbers(tensors["image"])
        found = [self._add("batch", "image", image, "gray", _limits(image, 0.5, 99.5))]
        for name, head in self._heads.items():
            if name in tensors:
                known = _numbers(tensors[f"{name}_mask"])
                found.append(self._of_head("batch", head, _numbers(tensors[name]), known, f"{name} (target)"))
        return found

    def of_prediction(self, parts: Sequence[Mapping[str, Any]]) -> list[StepPicture]:
        """Return what the network says, after its activation; the most probable of several classes.

        Parameters
        ----------
        parts
            The outputs of the network for each part of a batch; they are joined in the processor's memory.
        """
        found = []
        for name in parts[0]:
            finest = [part[name][0] if isinstance(part[name], list) else part[name] for part in parts]
            values = np.concatenate([_numbers(activated(self._heads[name], raw.detach())) for raw in finest])
            everywhere = np.ones((len(values), 1, *values.shape[2:]), bool)
            head = self._heads[name]
            if head.kind == "segmentation" and values.shape[1] == 1:
                found.append(self._add("prediction", name, values, "magma", (0.0, 1.0)))
                continue
            if head.kind == "segmentation":
                values = values.argmax(axis=1)[:, None]
            found.append(self._of_head("prediction", head, values, everywhere, name))
        return found

    def of_stage(self, stage: str, features: Tensor, patch: Sequence[int]) -> list[StepPicture]:
        """Return the features ``(B, F, *coarse)`` of a stage, for patches of this size."""
        values = _numbers(features)
        factors = tuple(size / n for size, n in zip(patch, values.shape[2:], strict=True))
        limits = _limits(values, 1, 99)
        return [self._add("activations", stage, values, "magma", limits, factors, channels=True)]

    def of_gradient(self, gradient: Tensor) -> list[StepPicture]:
        """Return how the loss changes with each voxel of the image, ``(B, C, *spatial)``."""
        values = _numbers(gradient)
        # Most voxels hardly matter to the loss, and a few matter very much.
        _, reach = _limits(np.abs(values), 0, 90)
        return [self._add("gradient", "loss by image", values, "PiYG", (-reach, reach))]

    def _of_head(self, group: Group, head: Head, values: Array, known: Array, name: str) -> StepPicture:
        """Return values ``(B, C, *spatial)`` of an output where they are known ``(B, 1, *spatial)``."""
        if head.kind == "segmentation":
            return self._add(group, name, np.where(known, np.round(values), 0).astype(np.uint16))
        seen = np.where(known, values, np.nan).astype(np.float32)
        limits = scalar_limits(values, np.broadcast_to(known, values.shape) & np.isfinite(values))
        if head.kind != "scalar":
            reach = 1.0 if head.unit else max(map(abs, limits))
            limits = (-reach, reach)
        return self._add(group, name, seen, "PiYG" if limits[0] < 0 else "magma", limits)

    def _add(
        self,
        group: Group,
        name: str,
        values: Array,
        colours: Literal["gray", "magma", "PiYG"] = "gray",
        limits: tuple[float, float] | None = None,
        factors: tuple[float, ...] = (),
        *,
        channels: bool = False,
    ) -> StepPicture:
        """Write an array ``(B, C, *spatial)``, with the channels first where there are several."""
        several = channels or values.shape[1] > 1
        array = np.moveaxis(values, 1, 0) if several else values[:, 0]
        number = self._numbers.setdefault((group, name), len(self._numbers))
        return StepPicture(
            group=group,
            name=name,
            kind="labels" if values.dtype.kind == "u" else "image",
            array=self._scratch.add(f"{group}_{number}", array),
            channels=several,
            factors=factors or (1.0,) * (values.ndim - 2),
            colours=colours,
            limits=limits,
        )


def _limits(values: Array, low: float, high: float) -> tuple[float, float]:
    """Return two percentiles of what is a number, the second one above the first; of a sample of much."""
    # An odd stride does not stay in one column of an image.
    sample = values.reshape(-1)[:: values.size // _SAMPLE | 1]
    known = sample[np.isfinite(sample)]
    if not known.size:
        return 0.0, 1.0
    first, last = (float(value) for value in np.percentile(known, (low, high)))
    return first, max(last, first + max(1e-12, 1e-6 * abs(first)))


def _numbers(tensor: Tensor) -> Array:
    numbers: Array = (
        tensor.detach().float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
    )
    return numbers
