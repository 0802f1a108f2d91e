"""The loss of thin structures' skeletons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .base import Loss, probabilities, require
from .overlap import overlap_loss, sums


class ClDiceLoss(Loss):
    r"""One minus the centreline Dice (Shit et al. 2021, CVPR, "clDice").

    .. math:: 1 - \frac{2 P S}{P + S}, \quad
              P = \frac{\sum_i m_i \sigma(p)_i g_i + s}{\sum_i m_i \sigma(p)_i + s}, \quad
              S = \frac{\sum_i m_i \sigma(g)_i p_i + s}{\sum_i m_i \sigma(g)_i + s}

    p the probability (sigmoid; softmax for class numbers), g the label, m the mask, σ the soft skeleton: P
    is the share of the predicted skeleton that lies in the labels, S the share of the labels' skeleton
    that is predicted. A gap costs as much where a vessel is thin as where it is thick.

    Parameters
    ----------
    iterations
        Erosions that find the skeleton; at least the radius of the thickest structures, in voxels. Time
        grows with it.
    smooth, batch_dice, include_background
        As for `SoftDiceLoss`.

    Notes
    -----
    The soft skeleton collects what each opening removes while the image is eroded step by step: erosion is
    the minimum over the voxels that share a face, dilation the maximum over all that touch, and the image's
    border and unlabelled voxels take part in neither. It sees only the shape: voxels count as cubes.
    Alone it leaves the width of structures open; add it to `SoftDiceLoss` or `BCEDiceLoss`.
    """

    logits: ClassVar[bool] = True

    def __init__(
        self,
        iterations: int = 5,
        smooth: float = 1.0,
        batch_dice: bool = True,
        include_background: bool = False,
    ) -> None:
        super().__init__()
        require(1 <= iterations <= 100, "iterations must be from 1 to 100")
        require(smooth >= 0, "smooth must be 0 or more")
        self.iterations = iterations
        self.smooth = smooth
        self.batch_dice = batch_dice
        self.include_background = include_background

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        chance, truth = probabilities(prediction, target)
        if chance.shape[1] > 1 and not self.include_background:
            chance, truth = chance[:, 1:], truth[:, 1:]
        precision = self._share(soft_skeleton(chance, known, self.iterations), truth)
        recall = self._share(soft_skeleton(truth, known, self.iterations), chance)
        both = (precision + recall).clamp_min(torch.finfo(chance.dtype).tiny)
        return overlap_loss(2 * precision * recall / both, sums(known, self.batch_dice), True)

    def _share(self, skeleton: Tensor, region: Tensor) -> Tensor:
        """Return which share of a skeleton lies in a region, ``(B or 1, C)``."""
        total = sums(skeleton, self.batch_dice) + self.smooth
        inside = sums(skeleton * region, self.batch_dice) + self.smooth
        return inside / total.clamp_min(torch.finfo(total.dtype).tiny)


def soft_skeleton(image: Tensor, known: Tensor, iterations: int) -> Tensor:
    """Return the soft skeleton of ``(B, C, *spatial)`` numbers from 0 to 1; 0 where not `known`."""
    unknown = 1 - known
    skeleton: Tensor | None = None
    for _ in range(iterations + 1):
        # The same erosion serves this round's opening and the next round.
        eroded = _erode(torch.addcmul(unknown, image, known))
        removed = torch.relu(image - _dilate(eroded * known))
        skeleton = removed if skeleton is None else skeleton + removed * (1 - skeleton)
        image = eroded
    return image if skeleton is None else skeleton * known


def _erode(image: Tensor) -> Tensor:
    """Return the minimum over each voxel and those that share a face with it."""
    return _extreme(image, torch.minimum, *range(2, image.dim()))


def _dilate(image: Tensor) -> Tensor:
    """Return the maximum over each voxel and all that touch it."""
    for axis in range(2, image.dim()):
        image = _extreme(image, torch.maximum, axis)
    return image


def _extreme(image: Tensor, pick: Callable[..., Tensor], *axes: int) -> Tensor:
    found: Tensor = Neighbours.apply(image, pick, axes)  # type: ignore[no-untyped-call]
    return found


class Neighbours(Function):
    """Minimum or maximum over a voxel and its two neighbours along each of some axes.

    Several times faster on a processor than torch's pooling. Where several are lowest (highest), the
    gradient goes to one of them, to the voxel itself first.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, pick: Callable[..., Tensor], axes: tuple[int, ...]) -> Tensor:
        """Return the extremes, as large as `image`."""
        out = image.clone()
        for here, there in _pairs(image.shape, axes):
            pick(out[here], image[there], out=out[here])
        ctx.save_for_backward(image, out)
        ctx.axes = axes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Send the gradient to where the extremes came from."""
        image, out = ctx.saved_tensors
        sent = gradient * _equal(image, out)
        left = gradient - sent
        for here, there in _pairs(image.shape, ctx.axes):
            part = left[here] * _equal(image[there], out[here])
            left[here].sub_(part)
            sent[there].add_(part)
        return sent, None, None


Place = tuple[slice, ...]


def _pairs(shape: Sequence[int], axes: Sequence[int]) -> Iterator[tuple[Place, Place]]:
    """Yield every direction as the slices of all voxels with a neighbour there, and of these neighbours."""
    for axis in axes:
        whole = (slice(None),) * axis
        first, last = (*whole, slice(0, shape[axis] - 1)), (*whole, slice(1, None))
        yield last, first
        yield first, last


def _equal(first: Tensor, second: Tensor) -> Tensor:
    """Return 1 where two numbers are equal, else 0; faster than by way of truth values."""
    return torch.sub(first, second).eq_(0)
