"""Each loss against its formula, written once more by hand or taken from torch."""

import itertools

import pytest
import torch
from torch.nn import functional

from napari_segtrain.losses import create

NDIM = pytest.mark.parametrize("ndim", [2, 3])
close = torch.testing.assert_close


def kept(values, mask):
    """The valid voxels as ``(N, C)``."""
    return values.movedim(1, -1)[mask[:, 0]]


@NDIM
def test_binary_cross_entropy(sample, ndim):
    prediction, target, mask = sample("binary", ndim, channels=2)
    p, g = kept(prediction, mask), kept(target, mask)
    close(
        create("BCEWithLogitsLoss")(prediction, target, mask),
        functional.binary_cross_entropy_with_logits(p, g),
    )
    weight = torch.tensor(3.0, dtype=p.dtype)
    expected = functional.binary_cross_entropy_with_logits(p, g, pos_weight=weight)
    close(create("BCEWithLogitsLoss", pos_weight=3.0)(prediction, target, mask), expected)


@NDIM
def test_class_numbers_are_compared_one_against_the_rest(sample, ndim):
    prediction, target, mask = sample("classes", ndim)
    truth = functional.one_hot(target[:, 0], 3).movedim(-1, 1).double()
    for name in ("BCEWithLogitsLoss", "BCEDiceLoss"):
        close(create(name)(prediction, target, mask), create(name)(prediction, truth, mask))


@NDIM
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(sample, ndim, smoothing):
    prediction, target, mask = sample("classes", ndim)
    expected = functional.cross_entropy(
        kept(prediction, mask), kept(target, mask)[:, 0], label_smoothing=smoothing
    )
    close(create("CrossEntropyLoss", label_smoothing=smoothing)(prediction, target, mask), expected)


def dice_by_hand(p, g, smooth, power=1):
    both = (p**power).sum() + (g**power).sum()
    return (2 * (p * g).sum() + smooth) / (both + smooth)


@NDIM
@pytest.mark.parametrize(("name", "power"), [("SoftDiceLoss", 1), ("DiceLoss", 2)])
@pytest.mark.parametrize("batch_dice", [True, False])
def test_dice(sample, ndim, name, power, batch_dice):
    prediction, target, mask = sample("classes", ndim)
    chance = torch.softmax(prediction, dim=1)
    groups = [slice(None)] if batch_dice else [slice(0, 1), slice(1, 2)]
    scores = {
        c: [
            dice_by_hand(
                kept(chance[s], mask[s])[:, c], (kept(target[s], mask[s])[:, 0] == c).double(), 0.5, power
            )
            for s in groups
        ]
        for c in range(3)
    }
    settings = {"smooth": 0.5, "batch_dice": batch_dice}
    without = 1 - torch.stack(scores[1] + scores[2]).mean()
    close(create(name, **settings)(prediction, target, mask), without)
    everything = 1 - torch.stack(scores[0] + scores[1] + scores[2]).mean()
    close(create(name, **settings, include_background=True)(prediction, target, mask), everything)


@NDIM
def test_dice_of_a_binary_target_counts_its_only_channel(sample, ndim):
    prediction, target, mask = sample("binary", ndim)
    expected = 1 - dice_by_hand(torch.sigmoid(kept(prediction, mask)), kept(target, mask), 1.0)
    close(create("SoftDiceLoss")(prediction, target, mask), expected)


def test_dice_is_zero_for_a_perfect_and_one_for_an_opposite_prediction():
    target = (torch.rand(1, 1, 16, 16) > 0.5).float()
    mask = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    loss = create("SoftDiceLoss", smooth=0.0)
    assert loss((target - 0.5) * 200, target, mask) == pytest.approx(0, abs=1e-6)
    assert loss((0.5 - target) * 200, target, mask) == pytest.approx(1, abs=1e-6)


def test_dice_without_foreground_falls_as_the_prediction_does():
    target = torch.zeros(2, 1, 8, 8)
    mask = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    for batch_dice in (True, False):
        loss = create("SoftDiceLoss", batch_dice=batch_dice)
        values = [loss(torch.full((2, 1, 8, 8), level), target, mask).item() for level in (3.0, -3.0, -20.0)]
        assert values[0] > values[1] > values[2]
        assert values[2] == pytest.approx(0, abs=1e-4)


def test_samples_without_labels_do_not_thin_out_per_sample_dice(sample):
    prediction, target, mask = sample("binary", 2)
    mask[1] = False
    loss = create("SoftDiceLoss", batch_dice=False)
    close(loss(prediction, target, mask), loss(prediction[:1], target[:1], mask[:1]))


@NDIM
def test_tversky(sample, ndim):
    prediction, target, mask = sample("binary", ndim)
    p, g = torch.sigmoid(kept(prediction, mask)), kept(target, mask)
    tp, fp, fn = (p * g).sum(), (p * (1 - g)).sum(), ((1 - p) * g).sum()
    close(create("TverskyLoss")(prediction, target, mask), 1 - (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1))
    half = create("TverskyLoss", alpha=0.5, beta=0.5, smooth=1.0)(prediction, target, mask)
    close(half, create("SoftDiceLoss", smooth=2.0)(prediction, target, mask))


@NDIM
@pytest.mark.parametrize("encoding", ["binary", "classes"])
def test_focal(sample, ndim, encoding):
    prediction, target, mask = sample(encoding, ndim)
    p, g = kept(prediction, mask), kept(target, mask)
    q = torch.sigmoid(p * (2 * g - 1)) if encoding == "binary" else torch.softmax(p, 1).gather(1, g)
    close(create("FocalLoss", gamma=1.5)(prediction, target, mask), -((1 - q) ** 1.5 * q.log()).mean())
    plain = "BCEWithLogitsLoss" if encoding == "binary" else "CrossEntropyLoss"
    close(create("FocalLoss", gamma=0.0)(prediction, target, mask), create(plain)(prediction, target, mask))
    if encoding == "binary":
        share = torch.where(g > 0, 0.25, 0.75)
        expected = -(share * (1 - q) ** 2 * q.log()).mean()
        close(create("FocalLoss", alpha=0.25)(prediction, target, mask), expected)


@NDIM
def test_combined_losses_are_the_sum_of_their_parts(sample, ndim):
    prediction, target, mask = sample("binary", ndim, channels=2)
    expected = 0.3 * create("BCEWithLogitsLoss", pos_weight=2.0)(prediction, target, mask) + 2 * create(
        "SoftDiceLoss", include_background=True
    )(prediction, target, mask)
    loss = create("BCEDiceLoss", bce_weight=0.3, dice_weight=2.0, pos_weight=2.0)
    close(loss(prediction, target, mask), expected)
    prediction, target, mask = sample("classes", ndim)
    expected = 0.3 * create("CrossEntropyLoss")(prediction, target, mask) + 2 * create("SoftDiceLoss")(
        prediction, target, mask
    )
    close(create("DiceCELoss", ce_weight=0.3, dice_weight=2.0)(prediction, target, mask), expected)


@NDIM
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("MSELoss", functional.mse_loss),
        ("MaskedMSELoss", functional.mse_loss),
        ("L1Loss", functional.l1_loss),
        ("SmoothL1Loss", functional.smooth_l1_loss),
    ],
)
def test_errors_of_values(sample, ndim, name, reference):
    prediction, target, mask = sample("regression", ndim)
    close(create(name)(prediction, target, mask), reference(kept(prediction, mask), kept(target, mask)))


@NDIM
def test_weighted_smooth_l1(sample, ndim):
    prediction, target, mask = sample("distance_transform", ndim)
    target = torch.where(target > 2, 0.0, target).double()
    p, g = kept(prediction, mask), kept(target, mask)
    weight = 1 + (5 - 1) * (g != 0) + 2 * torch.exp(-((g / 1.5) ** 2))
    errors = functional.smooth_l1_loss(p, g, beta=0.5, reduction="none")
    loss = create(
        "WeightedSmoothL1Loss", beta=0.5, foreground_weight=5.0, surface_weight=2.0, surface_width=1.5
    )
    assert 0 < (g == 0).double().mean() < 1
    close(loss(prediction, target, mask), (weight * errors).sum() / weight.sum())


@NDIM
def test_cosine(sample, ndim):
    prediction, target, mask = sample("surface_normals", ndim)
    loss = create("CosineSimilarityLoss")
    expected = 1 - functional.cosine_similarity(kept(prediction, mask), kept(target, mask)).mean()
    close(loss(prediction, target, mask), expected)
    close(loss(target * 7, target, mask), torch.zeros((), dtype=torch.float64), atol=1e-12, rtol=0)
    close(loss(-target, target, mask), torch.full((), 2.0, dtype=torch.float64))
    close(loss(target * 0, target, mask), torch.ones((), dtype=torch.float64))


@NDIM
@pytest.mark.parametrize("rho", [None, 2.0])
def test_signed_distance(sample, ndim, rho):
    prediction, target, mask = sample("distance_transform", ndim)
    spacing = (3.0, 0.5, 1.0)[:ndim]
    near = mask if rho is None else mask & (target.abs() < rho)
    assert near.sum() < mask.numel()
    first = functional.smooth_l1_loss(prediction[near], target[near], beta=0.7)
    slopes = [slope for slope in slopes_by_loops(prediction, mask, spacing) if slope is not None]
    lengths = [sum(part**2 for part in slope) ** 0.5 for slope in slopes]
    assert 0 < len(lengths) < mask.sum()
    second = ((torch.stack(lengths) - 1) ** 2).mean()
    loss = create("SignedDistanceLoss", rho=rho, beta=0.7, eikonal=True, eikonal_weight=0.4)
    close(loss(prediction, target, mask, spacing=spacing), first + 0.4 * second)
    plain = create("SignedDistanceLoss", rho=rho, beta=0.7)
    close(plain(prediction, target, mask, spacing=spacing), first)


def slopes_by_loops(field, mask, spacing):
    """The slopes at every voxel: the mean of the steps to its known neighbours; None where one lacks."""
    for place in itertools.product(*(range(n) for n in (len(field), *field.shape[2:]))):
        at = (place[0], 0, *place[1:])
        slopes = []
        for axis, step in enumerate(spacing, start=2):
            near = []
            for way in (-1, 1):
                other = list(at)
                other[axis] += way
                if 0 <= other[axis] < field.shape[axis] and mask[tuple(other)]:
                    near.append(way * (field[tuple(other)] - field[at]) / step)
            if near:
                slopes.append(sum(near) / len(near))
        yield slopes if mask[at] and len(slopes) == len(spacing) else None


@NDIM
def test_the_eikonal_term_of_a_whole_patch_is_that_of_central_differences(sample, ndim):
    prediction, target, mask = sample("distance_transform", ndim)
    spacing = (3.0, 0.5, 1.0)[:ndim]
    slopes = torch.gradient(prediction[:, 0], spacing=spacing, dim=tuple(range(1, ndim + 1)))
    length = sum(slope**2 for slope in slopes).sqrt()
    with_term = create("SignedDistanceLoss", eikonal=True, eikonal_weight=0.4)
    without = create("SignedDistanceLoss")
    mask = torch.ones_like(mask)
    difference = with_term(prediction, target, mask, spacing=spacing) - without(prediction, target, mask)
    close(difference, 0.4 * ((length - 1) ** 2).mean())


def test_a_true_distance_has_no_eikonal_error_in_physical_units_only():
    field = (torch.arange(12.0) * 2.5)[None, None, :, None].expand(1, 1, 12, 5).contiguous()
    mask = torch.ones_like(field, dtype=torch.bool)
    loss = create("SignedDistanceLoss", eikonal=True, eikonal_weight=1.0)
    assert loss(field, field, mask, spacing=(2.5, 1.0)) == pytest.approx(0, abs=1e-10)
    assert loss(field, field, mask, spacing=(1.0, 1.0)) == pytest.approx(1.5**2)


def test_where_the_target_is_cut_off_no_gradient_is_asked_for():
    field = torch.arange(16.0)[None, None, :, None].expand(1, 1, 16, 4).clamp(max=8.0).contiguous()
    mask = torch.ones_like(field, dtype=torch.bool)
    loss = create("SignedDistanceLoss", eikonal=True, eikonal_weight=1.0)
    # Only the last sloped row, whose central difference is a half, is off.
    assert loss(field, field, mask) == pytest.approx(0.25 / 9, rel=1e-5)


def test_a_plane_of_one_voxel_thickness_has_slopes_in_its_own_axes_only():
    field = torch.arange(6.0)[None, None, None, :, None].expand(1, 1, 1, 6, 4).contiguous()
    loss = create("SignedDistanceLoss", eikonal=True, eikonal_weight=1.0)
    assert loss(field, field, torch.ones_like(field, dtype=torch.bool)) == pytest.approx(0, abs=1e-10)
