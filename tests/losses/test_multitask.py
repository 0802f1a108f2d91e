import numpy as np
import pytest
import torch

from napari_segtrain.config import ConfigError, LossConfig
from napari_segtrain.losses import Loss, MultiTaskLoss, create

close = torch.testing.assert_close


def batch_of(sample, **encodings):
    """Predictions and a batch for several heads."""
    predictions, batch = {}, {}
    for seed, (name, encoding) in enumerate(encodings.items()):
        p, t, m = sample(encoding, 2, seed=seed, size=8)
        predictions[name] = p
        batch[name], batch[f"{name}_mask"] = t, m
    return predictions, batch


def seen(result):
    """Which heads saw a labelled voxel."""
    return {name: bool(valid) for name, valid in result.valid.items()}


def test_total_is_the_sum_of_heads_and_terms_with_their_weights(make_head, sample):
    predictions, batch = batch_of(sample, a="binary", d="distance_transform")
    heads = [
        make_head(
            name="a",
            losses=(
                LossConfig(name="BCEWithLogitsLoss", weight=0.5),
                LossConfig(name="SoftDiceLoss", kwargs={"smooth": 3.0}),
            ),
        ),
        make_head(
            name="d",
            target="a",
            encoding="distance_transform",
            activation="none",
            weight=0.25,
            losses=(LossConfig(name="L1Loss", weight=4.0),),
        ),
    ]
    result = MultiTaskLoss(heads, (1.0, 1.0))(predictions, batch, 0)
    bce = create("BCEWithLogitsLoss")(predictions["a"], batch["a"], batch["a_mask"])
    dice = create("SoftDiceLoss", smooth=3.0)(predictions["a"], batch["a"], batch["a_mask"])
    l1 = create("L1Loss")(predictions["d"], batch["d"], batch["d_mask"])
    close(result.parts["a/BCEWithLogitsLoss"], bce.detach())
    close(result.parts["a"], (0.5 * bce + dice).detach())
    close(result.parts["d"], 4 * l1.detach())
    close(result.total, 0.5 * bce + dice + 0.25 * 4 * l1)
    assert set(result.parts) == {"a", "a/BCEWithLogitsLoss", "a/SoftDiceLoss", "d", "d/L1Loss"}
    assert result.total.requires_grad
    assert not any(part.requires_grad for part in result.parts.values())
    assert seen(result) == {"a": True, "d": True}


def test_two_terms_of_one_kind_are_told_apart(make_head, sample):
    predictions, batch = batch_of(sample, t="binary")
    losses = (LossConfig(name="SoftDiceLoss"), LossConfig(name="SoftDiceLoss", kwargs={"smooth": 9.0}))
    parts = MultiTaskLoss([make_head(losses=losses)], (1.0, 1.0))(predictions, batch, 0).parts
    assert parts["t/SoftDiceLoss"] != parts["t/SoftDiceLoss_2"]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
def test_logits_losses_get_logits_whatever_the_activation(make_head, sample, activation):
    predictions, batch = batch_of(sample, t="classes")
    names = ("CrossEntropyLoss", "DiceCELoss", "BCEWithLogitsLoss", "clDice", "TverskyLoss")
    head = make_head(
        encoding="classes",
        out_channels=3,
        activation=activation,
        losses=tuple(LossConfig(name=name) for name in names),
    )
    parts = MultiTaskLoss([head], (1.0, 1.0))(predictions, batch, 0).parts
    for name in names:
        expected = create(name)(predictions["t"], batch["t"], batch["t_mask"])
        close(parts[f"t/{name}"], expected.detach())


def test_logits_losses_get_logits_and_value_losses_the_prediction(make_head, sample):
    predictions, batch = batch_of(sample, t="centre_distance")
    losses = (LossConfig(name="BCEWithLogitsLoss"), LossConfig(name="L1Loss"))
    head = make_head(encoding="centre_distance", losses=losses)
    parts = MultiTaskLoss([head], (1.0, 1.0))(predictions, batch, 0).parts
    raw, target, mask = predictions["t"], batch["t"], batch["t_mask"]
    close(parts["t/BCEWithLogitsLoss"], create("BCEWithLogitsLoss")(raw, target, mask).detach())
    close(parts["t/L1Loss"], create("L1Loss")(torch.sigmoid(raw), target, mask).detach())


def test_value_losses_compare_in_the_units_of_the_target(make_head, sample):
    predictions, batch = batch_of(sample, t="distance_transform")
    head = make_head(
        encoding="distance_transform", activation="none", scale=8.0, losses=(LossConfig(name="MSELoss"),)
    )
    total = MultiTaskLoss([head], (1.0, 1.0))(predictions, batch, 0).total
    close(total, create("MSELoss")(8 * predictions["t"], batch["t"], batch["t_mask"]))


def test_a_head_without_a_valid_voxel_adds_nothing_and_says_so(make_head, sample):
    predictions, batch = batch_of(sample, a="binary", b="binary")
    batch["b_mask"] = torch.zeros_like(batch["b_mask"])
    both = MultiTaskLoss([make_head(name="a"), make_head(name="b", target="b")], (1.0, 1.0))
    result = both(predictions, batch, 0)
    close(result.total, MultiTaskLoss([make_head(name="a")], (1.0, 1.0))(predictions, batch, 0).total)
    assert seen(result) == {"a": True, "b": False}
    assert result.parts["b"] == 0
    result.total.backward()
    assert (predictions["b"].grad == 0).all()


def test_a_term_counts_from_its_first_epoch_on(make_head, sample):
    predictions, batch = batch_of(sample, t="binary")
    head = make_head(
        losses=(LossConfig(name="BCEWithLogitsLoss"), LossConfig(name="SoftDiceLoss", start_epoch=2))
    )
    loss = MultiTaskLoss([head], (1.0, 1.0))
    assert "t/SoftDiceLoss" not in loss(predictions, batch, 1).parts
    assert "t/SoftDiceLoss" in loss(predictions, batch, 2).parts
    late = make_head(losses=(LossConfig(name="SoftDiceLoss", start_epoch=5),))
    result = MultiTaskLoss([late], (1.0, 1.0))(predictions, batch, 0)
    assert result.total == 0
    result.total.backward()
    assert (predictions["t"].grad == 0).all()
    assert seen(result) == {"t": True}


def test_resolutions_are_weighted_by_halves(make_head, sample):
    predictions, batch = batch_of(sample, t="binary")
    fine = predictions["t"]
    coarse = torch.randn(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    loss = MultiTaskLoss([make_head(losses=(LossConfig(name="BCEWithLogitsLoss"),))], (1.0, 1.0))
    result = loss({"t": [fine, coarse]}, batch, 0)
    bce = create("BCEWithLogitsLoss")
    first = bce(fine, batch["t"], batch["t_mask"])
    second = bce(coarse, batch["t"][..., 1::2, 1::2], batch["t_mask"][..., 1::2, 1::2])
    close(result.total, 2 / 3 * first + 1 / 3 * second)
    close(result.parts["t/BCEWithLogitsLoss"], result.total.detach())


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_what_is_unlabelled_is_in_no_resolution(make_head, ndim, garbage):
    """Labels take the nearest voxel, auxiliary numbers the mean of a block's labelled voxels: by hand."""
    rng = np.random.default_rng(ndim)
    shape, coarse = (1, 1, *(8,) * ndim), (1, 1, *(4,) * ndim)
    known = rng.random(shape) > 0.6
    truth = {"a": rng.integers(0, 2, shape).astype(float), "d": rng.normal(size=shape)}
    guess = {name: [rng.normal(size=size) for size in (shape, coarse)] for name in truth}

    def blocks(array):
        """Return the voxels of every block of 2 an axis, one row a block."""
        corners = [array[(0, 0, *(slice(k, None, 2) for k in corner))] for corner in np.ndindex(*(2,) * ndim)]
        return np.stack([corner.ravel() for corner in corners], axis=1)

    nearest = -1  # the voxel after the middle of a block of two
    labelled, small = blocks(known), {name: levels[1].ravel() for name, levels in guess.items()}
    there, any_there = labelled[:, nearest], labelled.any(axis=1)
    mean = (blocks(truth["d"]) * labelled).sum(axis=1)[any_there] / labelled.sum(axis=1)[any_there]
    expected = {
        "a": [
            (guess["a"][0] - truth["a"])[known],
            small["a"][there] - blocks(truth["a"])[there, nearest],
        ],
        "d": [(guess["d"][0] - truth["d"])[known], small["d"][any_there] - mean],
    }

    heads = [
        make_head(name="a", encoding="regression", activation="none", losses=(LossConfig(name="MSELoss"),)),
        make_head(
            name="d",
            target="d",
            encoding="distance_transform",
            activation="none",
            losses=(LossConfig(name="MSELoss"),),
            ds_interpolation="linear",
        ),
    ]
    batch = {name: torch.from_numpy(np.where(known, array, garbage)) for name, array in truth.items()}
    batch |= {f"{name}_mask": torch.from_numpy(known) for name in truth}
    predictions = {
        name: [torch.from_numpy(level).requires_grad_() for level in levels] for name, levels in guess.items()
    }
    result = MultiTaskLoss(heads, (1.0,) * ndim)(predictions, batch, 0)
    for name, (fine, rough) in expected.items():
        by_hand = 2 / 3 * np.square(fine).mean() + 1 / 3 * np.square(rough).mean()
        assert float(result.parts[name]) == pytest.approx(by_hand, rel=1e-6)
    result.total.backward()
    for levels in predictions.values():
        assert all(level.grad.isfinite().all() for level in levels)
    assert (predictions["d"][0].grad[~torch.from_numpy(known)] == 0).all()


def test_coarse_resolutions_have_coarser_spacing(make_head):
    field = (torch.arange(8.0) + 0.5)[None, None, :, None].expand(1, 1, 8, 8).contiguous()
    coarse = torch.nn.functional.avg_pool2d(field, 2)
    batch = {"t": field, "t_mask": torch.ones_like(field, dtype=torch.bool)}
    losses = (LossConfig(name="SignedDistanceLoss", kwargs={"eikonal": True, "eikonal_weight": 1.0}),)
    head = make_head(
        encoding="distance_transform", activation="none", losses=losses, ds_interpolation="linear"
    )
    total = MultiTaskLoss([head], (1.0, 1.0))({"t": [field, coarse]}, batch, 0).total
    assert total == pytest.approx(0, abs=1e-10)


def test_losses_that_want_it_get_the_prediction_of_the_source(make_head, sample, monkeypatch):
    seen = []

    class Asks(Loss):
        wants_source = True

        def compute(self, prediction, target, known, spacing, source_prediction):
            seen.append(source_prediction)
            return prediction.sum() * 0

    predictions, batch = batch_of(sample, a="binary", n="surface_normals")
    heads = [
        make_head(name="a"),
        make_head(
            name="n",
            target="a",
            encoding="surface_normals",
            out_channels=2,
            activation="none",
            losses=(LossConfig(name="CosineSimilarityLoss"),),
        ),
    ]
    monkeypatch.setattr("napari_segtrain.losses.directions.CosineSimilarityLoss", Asks)
    MultiTaskLoss(heads, (1.0, 1.0))(predictions, batch, 0)
    close(seen[0], torch.sigmoid(predictions["a"]))


@pytest.mark.parametrize(("encoding", "activation"), [("binary", "sigmoid"), ("classes", "softmax")])
def test_smooth_normals_are_asked_for_where_the_source_predicts_foreground(
    make_head, sample, encoding, activation
):
    predictions, batch = batch_of(sample, a=encoding, n="surface_normals")
    raw = predictions["a"]
    heads = [
        make_head(
            name="a",
            encoding=encoding,
            out_channels=raw.shape[1],
            activation=activation,
            losses=(LossConfig(name="FocalLoss"),),
        ),
        make_head(
            name="n",
            target="a",
            encoding="surface_normals",
            out_channels=2,
            activation="none",
            losses=(LossConfig(name="NormalSmoothnessLoss", kwargs={"sigma": 1.0}),),
        ),
    ]
    foreground = raw > 0 if encoding == "binary" else raw.argmax(1, keepdim=True) > 0
    result = MultiTaskLoss(heads, (2.0, 1.0))(predictions, batch, 0)
    expected = create("NormalSmoothnessLoss", sigma=1.0)(
        predictions["n"],
        batch["n"],
        batch["n_mask"],
        spacing=(2.0, 1.0),
        source_prediction=foreground.double() if encoding == "binary" else torch.softmax(raw, 1),
    )
    close(result.parts["n"], expected.detach())
    everywhere = create("NormalSmoothnessLoss", sigma=1.0)(
        predictions["n"], batch["n"], batch["n_mask"], spacing=(2.0, 1.0)
    )
    assert abs(everywhere - expected) > 1e-3


def test_what_is_missing_is_named(make_head, sample):
    predictions, batch = batch_of(sample, t="binary")
    loss = MultiTaskLoss([make_head()], (1.0, 1.0))
    with pytest.raises(ValueError, match="network returned no 't'"):
        loss({}, batch, 0)
    with pytest.raises(ValueError, match="'t_mask'"):
        loss(predictions, {"t": batch["t"]}, 0)
    with pytest.raises(ConfigError, match="CrossEntropyLoss cannot"):
        MultiTaskLoss([make_head(losses=(LossConfig(name="CrossEntropyLoss"),))], (1.0, 1.0))


def test_half_precision_output_gives_a_float32_total(make_head, sample):
    predictions, batch = batch_of(sample, t="binary", d="centre_distance")
    heads = [
        make_head(),
        make_head(name="d", encoding="centre_distance", losses=(LossConfig(name="SmoothL1Loss"),)),
    ]
    narrow = {name: p.detach().to(torch.bfloat16).requires_grad_() for name, p in predictions.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = MultiTaskLoss(heads, (1.0, 1.0))(
            narrow, {k: v.float() if v.is_floating_point() else v for k, v in batch.items()}, 0
        ).total
    assert total.dtype == torch.float32
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in narrow.values())
