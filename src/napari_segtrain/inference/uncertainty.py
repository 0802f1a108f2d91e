"""How much a network doubts each voxel: its probabilities, its outputs, its answers to mirrored images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_segtrain.config import AuxiliaryTask, DistanceTransformTask, LossConfig
from napari_segtrain.targets import Head

from .activation import channel_ranges, stack_predictions, stacked_channels
from .mirroring import Symmetry

Reason = Literal["unsure", "outputs", "mirrors"]
REASONS: tuple[Reason, ...] = get_args(Reason)
WORDS: dict[Reason, str] = {
    "unsure": "unsure",
    "outputs": "outputs disagree",
    "mirrors": "mirrored answers differ",
}
"""What each reason says to the user."""


@dataclass(frozen=True)
class Measure:
    """One number a voxel, 0 … 1, that says how doubtful a target's prediction is there.

    Attributes
    ----------
    target
        The target.
    reason
        unsure: entropy of its probabilities. outputs: its outputs contradict each other. mirrors: it is
        predicted otherwise when the image is mirrored.
    """

    target: str
    reason: Reason


def entropy(probabilities: Tensor) -> Tensor:
    r"""Return the entropy of probabilities as a share of the largest possible one.

    .. math:: -\sum_c p_c \log p_c / \log C

    of C classes; of outputs of which each is yes or no, that of the least certain one,
    :math:`-p \log_2 p - (1 - p) \log_2 (1 - p)`.

    Parameters
    ----------
    probabilities
        ``(B, C, *spatial)`` that sum to 1, or ``(B, 1, *spatial)``.

    Returns
    -------
    Tensor
        ``(B, *spatial)``, 0 … 1.
    """
    count = probabilities.shape[1]
    if count == 1:
        probabilities, count = torch.cat([probabilities, 1.0 - probabilities], dim=1), 2
    parts: Tensor = torch.special.entr(probabilities.clamp(0.0, 1.0))
    return parts.sum(1) / math.log(count)


def against_distance(foreground: Tensor, distance: Tensor, kind: str, spacing: float) -> Tensor:
    r"""Return how far the sign of a predicted distance contradicts the foreground.

    .. math:: |p - q|, \quad q = \sigma(-2 d / s)

    of a signed distance d, negative inside, that is half a spacing s beside the surface. An *inside* or
    *outside* distance is 0 on the other side: there q turns over at a quarter of the spacing, and twice as
    fast.

    Parameters
    ----------
    foreground, distance
        ``(B, *spatial)``, probability and distance in units of the spacing.
    kind
        signed, inside or outside.
    spacing
        Size of a voxel.
    """
    if kind == "signed":
        inside = torch.sigmoid(-2.0 * distance / spacing)
    else:
        inside = torch.sigmoid((1.0 if kind == "inside" else -1.0) * (4.0 * distance / spacing - 1.0))
    return (foreground - inside).abs()


def against_boundary(foreground: Tensor, boundary: Tensor) -> Tensor:
    """Return where an edge is seen without an object beside it, or an object ends without an edge.

    Parameters
    ----------
    foreground, boundary
        Probabilities ``(B, *spatial)``. The boundary is on both sides of every edge, so that neighbours
        count as well.
    """
    near, far = _dilated(foreground), 1.0 - _dilated(1.0 - foreground)
    return torch.maximum(boundary * (1.0 - near), (near - far) * (1.0 - _dilated(boundary)))


def against_centres(foreground: Tensor, centres: Tensor) -> Tensor:
    """Return where the middle of an object is seen and no foreground: ``(1 - p) · c``, `(B, *spatial)`."""
    return (1.0 - foreground) * centres.clamp(0.0, 1.0)


class Doubt(nn.Module):
    """Outputs `measures` in the place of predictions; a network for whatever predicts with networks.

    Parameters
    ----------
    network
        The trained network.
    heads
        Its outputs.
    targets
        Names of the targets that are asked about.
    tasks
        The auxiliary tasks of its experiment.
    ndim
        Its spatial axes.
    spacing
        Size of a voxel of the training data.

    Attributes
    ----------
    measures
        What the channels of the output are.
    head
        The output, as others describe it.
    """

    def __init__(
        self,
        network: nn.Module,
        heads: Sequence[Head],
        targets: Sequence[str],
        tasks: Mapping[str, AuxiliaryTask],
        ndim: int,
        spacing: float,
    ) -> None:
        super().__init__()
        self.network = network
        self._main = {head.name: head for head in heads if head.name in targets}
        self._beside = {name: [h for h in heads if _speaks_of(h, self._main[name])] for name in self._main}
        self._heads = tuple(
            head for head in heads if head.name in self._main or any(head in h for h in self._beside.values())
        )
        self._tasks, self._spacing = dict(tasks), spacing
        # The image as it is, and mirrored along each axis: what most mirrorings would say, for less work.
        order = tuple(range(ndim))
        flips = [tuple(axis == mirrored for axis in order) for mirrored in (-1, *order)]
        self._symmetries = [Symmetry(order, flip) for flip in flips]
        self.measures = tuple(
            Measure(name, reason) for name in self._main for reason in REASONS if self._knows(name, reason)
        )
        self.head = Head(
            name="doubt",
            target="doubt",
            decoder="doubt",
            encoding="regression",
            out_channels=len(self.measures),
            activation="none",
            losses=(LossConfig(name="MaskedMSELoss"),),
        )

    def _knows(self, name: str, reason: Reason) -> bool:
        if reason == "mirrors":
            return True
        return self._main[name].kind == "segmentation" and (reason == "unsure" or bool(self._beside[name]))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return ``{"doubt": (B, measures, *spatial)}`` for an image `(B, C, *spatial)`."""
        channels = sum(map(stacked_channels, self._heads))
        shape = (len(image), channels, *image.shape[2:])
        total, squares, one = (torch.zeros(shape, device=image.device) for _ in range(3))
        for symmetry in self._symmetries:
            stack_predictions(self.network(symmetry.apply(image)), self._heads, one)
            back = symmetry.inverse.apply(one)
            total += back
            squares.addcmul_(back, back)
        mean = total / len(self._symmetries)
        # With few answers the spread of numbers between 0 and 1 is at most a half.
        spread = 2.0 * (squares / len(self._symmetries) - mean.square()).clamp_(min=0.0).sqrt()
        ranges = channel_ranges(self._heads)
        parts = [self._measure(one, mean, spread, ranges) for one in self.measures]
        return {self.head.name: torch.stack(parts, dim=1)}

    def _measure(self, measure: Measure, mean: Tensor, spread: Tensor, ranges: Mapping[str, slice]) -> Tensor:
        head = self._main[measure.target]
        own = ranges[head.name]
        if measure.reason == "unsure":
            if head.activation == "softmax":
                return entropy(mean[:, own])
            return torch.stack([entropy(mean[:, n : n + 1]) for n in range(own.start, own.stop)]).amax(0)
        if measure.reason == "mirrors":
            return (spread[:, own].amax(1) / head.scale).clamp(max=1.0)
        foreground = 1.0 - mean[:, own.start] if head.activation == "softmax" else mean[:, own].amax(1)
        found = [
            self._contradicts(o, foreground, mean[:, ranges[o.name].start]) for o in self._beside[head.name]
        ]
        return torch.stack(found).amax(0)

    def _contradicts(self, head: Head, foreground: Tensor, values: Tensor) -> Tensor:
        if head.encoding == "boundary":
            return against_boundary(foreground, values)
        if head.encoding == "centre_distance":
            return against_centres(foreground, values)
        task: Any = self._tasks.get(head.name)
        kind = task.distance_type if isinstance(task, DistanceTransformTask) else "signed"
        return against_distance(foreground, values, kind, self._spacing)


def _speaks_of(head: Head, main: Head) -> bool:
    """Return whether an output says again, in other words, where a target's foreground is."""
    said = ("boundary", "centre_distance", "distance_transform")
    return head.target == main.name and head.encoding in said and main.kind == "segmentation"


def _dilated(values: Tensor) -> Tensor:
    """Return the largest value of each voxel and its neighbours, `(B, *spatial)`."""
    pool: Any = functional.max_pool2d if values.ndim == 3 else functional.max_pool3d
    grown: Tensor = pool(values[:, None], kernel_size=3, stride=1, padding=1)[:, 0]
    return grown
