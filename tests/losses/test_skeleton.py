"""clDice against its paper's pooling, against loops over voxels with a mask, and on drawn vessels."""

import itertools

import numpy as np
import pytest
import torch
from skimage.morphology import skeletonize
from torch.nn import functional

from napari_segtrain.losses import create
from napari_segtrain.losses.skeleton import soft_skeleton

NDIM = pytest.mark.parametrize("ndim", [2, 3])
close = torch.testing.assert_close


def skeleton_by_pooling(image, iterations):
    """The soft skeleton as Shit et al. (2021), algorithm 1, has it."""
    ndim = image.dim() - 2
    pool = functional.max_pool2d if ndim == 2 else functional.max_pool3d

    def erode(x):
        lines = [[3 if a == axis else 1 for a in range(ndim)] for axis in range(ndim)]
        return torch.stack([-pool(-x, k, 1, [n // 2 for n in k]) for k in lines]).amin(0)

    def opened(x):
        return pool(erode(x), 3, 1, 1)

    skeleton = torch.relu(image - opened(image))
    for _ in range(iterations):
        image = erode(image)
        delta = torch.relu(image - opened(image))
        skeleton = skeleton + torch.relu(delta - skeleton * delta)
    return skeleton


def skeleton_by_loops(image, mask, iterations):
    """The same for one `(*spatial)` array, from the labelled voxels alone."""
    space = list(itertools.product(*(range(n) for n in image.shape)))

    def extreme(x, pick, reach):
        out = np.zeros_like(x)
        for place in (p for p in space if mask[p]):
            around = (
                q
                for q in space
                if mask[q]
                and max(abs(a - b) for a, b in zip(place, q, strict=True)) <= 1
                and sum(abs(a - b) for a, b in zip(place, q, strict=True)) <= reach
            )
            out[place] = pick(x[q] for q in around)
        return out

    def opened(x):
        return extreme(extreme(x, min, 1), max, 9)

    skeleton = np.maximum(image - opened(image), 0)
    for _ in range(iterations):
        image = extreme(image, min, 1)
        delta = np.maximum(image - opened(image), 0)
        skeleton = skeleton + np.maximum(delta - skeleton * delta, 0)
    return skeleton * mask


def centreline_dice(p, g, skeleton_p, skeleton_g, smooth=1.0):
    precision = ((skeleton_p * g).sum() + smooth) / (skeleton_p.sum() + smooth)
    recall = ((skeleton_g * p).sum() + smooth) / (skeleton_g.sum() + smooth)
    return 1 - 2 * precision * recall / (precision + recall)


@NDIM
@pytest.mark.parametrize("iterations", [1, 4])
def test_value_and_gradient_are_those_of_the_paper(sample, ndim, iterations):
    prediction, target, mask = sample("binary", ndim, size=8)
    chance = torch.sigmoid(prediction)
    expected = centreline_dice(
        chance, target, skeleton_by_pooling(chance, iterations), skeleton_by_pooling(target, iterations)
    )
    value = create("clDice", iterations=iterations)(prediction, target, torch.ones_like(mask))
    close(value, expected)
    close(torch.autograd.grad(value, prediction), torch.autograd.grad(expected, prediction))


@NDIM
def test_what_is_not_labelled_is_in_no_neighbourhood(sample, ndim):
    prediction, target, mask = sample("binary", ndim, batch=1, size=6 if ndim == 2 else 4)
    p, g, m = torch.sigmoid(prediction).detach()[0, 0].numpy(), target[0, 0].numpy(), mask[0, 0].numpy()
    expected = centreline_dice(p * m, g * m, skeleton_by_loops(p, m, 2), skeleton_by_loops(g, m, 2), 0.5)
    value = create("clDice", iterations=2, smooth=0.5)(prediction, target, mask)
    assert value.item() == pytest.approx(expected)


@NDIM
@pytest.mark.parametrize("include_background", [True, False])
@pytest.mark.parametrize("batch_dice", [True, False])
def test_classes_are_compared_one_by_one(sample, ndim, include_background, batch_dice):
    prediction, target, mask = sample("classes", ndim, size=6)
    truth = functional.one_hot(target[:, 0], 3).movedim(-1, 1).double()
    chance = torch.softmax(prediction, 1)
    skeletons = skeleton_by_pooling(chance, 3), skeleton_by_pooling(truth, 3)
    groups = [slice(None)] if batch_dice else [slice(0, 1), slice(1, 2)]
    parts = [
        centreline_dice(*(x[s, c] for x in (chance, truth, *skeletons)))
        for s in groups
        for c in range(0 if include_background else 1, 3)
    ]
    loss = create("clDice", iterations=3, include_background=include_background, batch_dice=batch_dice)
    close(loss(prediction, target, torch.ones_like(mask)), torch.stack(parts).mean())


def vessel(ndim, radius, length=24):
    """A straight vessel along the last axis, in the middle of the others."""
    axes = torch.meshgrid(*[torch.arange(length) - length // 2] * ndim, indexing="ij")
    inside = torch.stack(axes[:-1]).abs().amax(0) <= radius
    return inside.double()[None, None]


@NDIM
def test_the_skeleton_of_a_vessel_is_its_centreline(ndim):
    tube = vessel(ndim, 3)
    soft = soft_skeleton(tube, torch.ones_like(tube), 3)[0, 0] > 0
    thin = torch.from_numpy(skeletonize(tube[0, 0].numpy() > 0))
    inner = (..., slice(6, -6))
    assert thin[inner].any()
    assert soft[inner][thin[inner]].all()
    assert soft[inner].sum() == thin[inner].sum()


@NDIM
def test_a_gap_costs_more_than_a_wrong_width(ndim):
    truth = vessel(ndim, 3)
    mask = torch.ones_like(truth, dtype=torch.bool)
    broken, thin = truth.clone(), vessel(ndim, 2)
    broken[..., 10:14] = 0

    def cost(name, prediction, **settings):
        return create(name, **settings)((prediction - 0.5) * 100, truth, mask).item()

    assert cost("clDice", truth) == pytest.approx(0, abs=1e-6)
    assert cost("clDice", broken) > 2 * cost("clDice", thin)
    assert cost("SoftDiceLoss", broken) < cost("SoftDiceLoss", thin)


def test_without_foreground_the_loss_falls_as_the_prediction_does():
    target = torch.zeros(2, 1, 8, 8)
    mask = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    noise = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    values = [create("clDice")(noise * 4 + level, target, mask).item() for level in (0.0, -4.0, -20.0)]
    assert values[0] > values[1] > values[2]
    assert values[2] == pytest.approx(0, abs=1e-4)
