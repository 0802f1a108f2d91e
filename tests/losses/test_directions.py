"""Losses of directions: without a sign, and how smooth they are."""

import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch.nn import functional

from napari_segtrain.losses import create

NDIM = pytest.mark.parametrize("ndim", [2, 3])
close = torch.testing.assert_close


def kept(values, mask):
    return values.movedim(1, -1)[mask[:, 0]]


@NDIM
@pytest.mark.parametrize("masked", [True, False])
def test_the_sign_of_a_direction_does_not_count(sample, ndim, masked):
    prediction, target, mask = sample("inplane_direction", ndim)
    mask = mask if masked else torch.ones_like(mask)
    loss = create("SignInvariantCosineLoss")
    value = loss(prediction, target, mask)
    cosines = functional.cosine_similarity(kept(prediction, mask), kept(target, mask))
    close(value, 1 - cosines.abs().mean())
    flips = torch.randint(0, 2, mask.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
    close(loss(prediction, target * flips, mask), value)
    close(loss(prediction * flips, target, mask), value)
    close(loss(-5 * target * flips, target, mask), torch.zeros_like(value), atol=1e-12, rtol=0)
    close(loss(target * 0, target, mask), torch.ones_like(value))


@pytest.mark.parametrize("name", ["CosineSimilarityLoss", "SignInvariantCosineLoss"])
def test_a_target_of_no_length_has_no_direction_to_learn(sample, name):
    prediction, target, mask = sample("flows", 3)
    flat = torch.rand(mask.shape, generator=torch.Generator().manual_seed(4)) > 0.5
    value = create(name)(prediction, target * ~flat, mask)
    close(value, create(name)(prediction, target, mask & ~flat))
    assert create(name)(prediction, target * 0, mask) == 0


@pytest.mark.parametrize("degrees", range(0, 181, 15))
def test_the_loss_of_two_lines_follows_from_their_angle(degrees):
    angle = torch.deg2rad(torch.tensor(float(degrees), dtype=torch.float64))
    line = torch.stack([torch.sin(angle), torch.cos(angle)]).reshape(1, 2, 1, 1)
    other = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    value = create("SignInvariantCosineLoss")(line, other, torch.ones(1, 1, 1, 1, dtype=torch.bool))
    close(value, 1 - torch.cos(angle).abs())


def smoothness_by_scipy(prediction, mask, where, widths, q):
    own = functional.normalize(prediction.detach(), dim=1)
    mean = (own * mask).numpy()
    for axis, width in enumerate(widths, start=2):
        mean = gaussian_filter1d(mean, width, axis=axis, mode="constant", truncate=4.0)
    mean = functional.normalize(torch.from_numpy(mean), dim=1)
    return ((1 - (own * mean).sum(1, keepdim=True)) ** q)[where].mean()


@NDIM
@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize("masked", [True, False])
def test_smoothness_is_the_formula_where_the_source_says_foreground(sample, ndim, channels, masked):
    prediction, target, mask = sample("surface_normals", ndim, size=7)
    mask = mask if masked else torch.ones_like(mask)
    spacing = (2.0, 1.0, 0.5)[-ndim:]
    widths = [0.75 / s for s in (4.0, 2.0, 1.0)[-ndim:]]
    source, where = None, mask
    if channels:
        raw = torch.randn(2, channels, *mask.shape[2:], generator=torch.Generator().manual_seed(5))
        source = torch.sigmoid(raw) if channels == 1 else torch.softmax(raw, 1)
        foreground = raw > 0 if channels == 1 else raw.argmax(1, keepdim=True) != 0
        where = mask & foreground
        assert 0 < where.sum() < mask.sum()
    for q in (1.0, 2.0, 2.5):
        loss = create("NormalSmoothnessLoss", sigma=0.75, q=q)
        value = loss(prediction, target, mask, spacing=spacing, source_prediction=source)
        close(value, smoothness_by_scipy(prediction, mask, where, widths, q))


@NDIM
def test_equal_directions_are_smooth_and_a_fold_is_not(ndim):
    space = (12,) * ndim
    field = torch.zeros(1, ndim, *space)
    field[:, -1] = 1.0
    mask = torch.ones(1, 1, *space, dtype=torch.bool)
    loss = create("NormalSmoothnessLoss", sigma=1.5, q=1.0)
    assert loss(field, field, mask) == pytest.approx(0, abs=1e-10)
    folded = field.clone()
    folded[..., 6:] = field[..., 6:].roll(1, dims=1)  # a quarter turn
    beside = torch.zeros_like(mask)
    beside[..., 5:7] = True
    far = torch.zeros_like(mask)
    far[..., :1] = far[..., -1:] = True
    # Beside the fold about a third of the neighbourhood points the other way: 1 - cos 30° = 0.13.
    assert 0.05 < loss(folded, field, mask, source_prediction=beside.float()) < 0.15
    assert loss(folded, field, mask, source_prediction=far.float()) < 1e-6
    blurred = create("NormalSmoothnessLoss", sigma=8.0, q=1.0)
    assert blurred(folded, field, mask, source_prediction=far.float()) > 0.1


def test_no_gradient_reaches_the_source_and_none_comes_without_foreground(sample):
    prediction, target, mask = sample("surface_normals", 2)
    raw = torch.full_like(mask, 3.0, dtype=torch.float64).requires_grad_()
    loss = create("NormalSmoothnessLoss")
    value = loss(prediction, target, mask, source_prediction=torch.sigmoid(raw))
    assert torch.autograd.grad(value, raw, allow_unused=True) == (None,)
    value = loss(prediction, target, mask, source_prediction=torch.sigmoid(-raw))
    assert value == 0
    value.backward()
    assert (prediction.grad == 0).all()


def test_a_source_of_another_size_is_refused(sample):
    prediction, target, mask = sample("surface_normals", 2)
    with pytest.raises(ValueError, match="give both at one resolution"):
        create("NormalSmoothnessLoss")(prediction, target, mask, source_prediction=torch.ones(2, 1, 3, 3))
