import subprocess
import sys
from typing import get_args

import pytest

from napari_segtrain.config import ConfigError, LossConfig
from napari_segtrain.losses import (
    ENCODINGS,
    LOSSES,
    check_heads,
    check_loss,
    create,
    describe_losses,
    loss_names,
    loss_settings,
)
from napari_segtrain.targets.head import Encoding

NEEDED = [
    "SoftDiceLoss", "DiceLoss", "BCEWithLogitsLoss", "BCEDiceLoss", "CrossEntropyLoss", "DiceCELoss",
    "FocalLoss", "TverskyLoss", "clDice", "MSELoss", "L1Loss", "SmoothL1Loss", "MaskedMSELoss",
    "WeightedSmoothL1Loss", "CosineSimilarityLoss", "SignInvariantCosineLoss", "SignedDistanceLoss",
    "NormalSmoothnessLoss", "EigenvalueLoss",
]  # fmt: skip


def test_the_table_has_what_is_promised_and_builds_it():
    assert sorted(loss_names()) == sorted(NEEDED)
    for name in loss_names():
        assert create(name) is not None
        assert describe_losses()[name].endswith(".")


def test_every_encoding_of_the_targets_has_losses():
    assert set(get_args(Encoding)) <= set(ENCODINGS)
    for encoding, known in ENCODINGS.items():
        for ndim in (2, 3):
            channels = known.channels(ndim) if known.channels else 2
            assert loss_names(encoding, channels, ndim, "none")


def test_an_encoding_that_no_line_knows_is_named():
    assert "Did you mean 'structure_tensor'" in str(check_loss("MSELoss", "structure_tensors", 3, 2))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_settings_of_a_loss_are_those_it_is_made_with(name):
    settings = loss_settings(name)
    create(name, **settings)
    for key, value in settings.items():
        wrong = "much" if not isinstance(value, bool) else 1
        with pytest.raises(ConfigError, match=f"{name}: {key} must be "):
            create(name, **{key: wrong})
        with pytest.raises(ConfigError, match=f"Did you mean '{key}'"):
            create(name, **{key + "s": value})


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'BCEDiceLoss'"):
        create("BCEDicLoss")


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("SoftDiceLoss", {"smoth": 1.0}, "no setting 'smoth'. Did you mean 'smooth'"),
        ("MSELoss", {"beta": 1.0}, "no setting 'beta'. It takes none"),
        ("SmoothL1Loss", {"beta": -1.0}, r"SmoothL1Loss\(beta=-1.0\): beta must be above 0"),
        ("SmoothL1Loss", {"beta": "wide"}, "SmoothL1Loss: beta must be a finite number, and is 'wide'"),
        ("SmoothL1Loss", {"beta": float("inf")}, "beta must be a finite number"),
        ("SmoothL1Loss", {"beta": None}, "beta must be a finite number, and is None"),
        ("SignedDistanceLoss", {"rho": True}, "rho must be a finite number, or empty, and is True"),
        ("SignedDistanceLoss", {"eikonal": 1}, "eikonal must be true or false"),
        ("clDice", {"iterations": 2.5}, "iterations must be a whole number, and is 2.5"),
        ("clDice", {"iterations": 0}, "iterations must be from 1 to 100"),
        ("NormalSmoothnessLoss", {"q": 0.5}, "q must be 1 or more"),
        ("NormalSmoothnessLoss", {"sigma": 0.0}, "sigma must be above 0"),
        ("EigenvalueLoss", {"relative": True}, "no setting 'relative'. It takes none"),
        ("FocalLoss", {"alpha": 1.5}, "alpha must be between 0 and 1"),
        ("SignedDistanceLoss", {"rho": 0.0}, "rho must be above 0"),
    ],
)
def test_wrong_settings_are_refused_in_words(name, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        create(name, **kwargs)


@pytest.mark.parametrize(
    ("name", "encoding", "channels", "ndim", "reason"),
    [
        ("CrossEntropyLoss", "binary", 1, 2, "compares classes, and the output is foreground"),
        ("CrossEntropyLoss", "classes", 1, 2, "at least 2 channels"),
        ("CosineSimilarityLoss", "surface_normals", 3, 2, "directions in 2D have 2 channels"),
        ("CosineSimilarityLoss", "regression", 1, 2, "at least 2 channels"),
        ("SignedDistanceLoss", "regression", 2, 3, "needs 1 channel in 3D, and the output has 2"),
        ("MSELoss", "classes", 3, 2, "the output is classes"),
        ("SoftDiceLoss", "distance_transform", 1, 2, "the output is distances"),
        ("DizeLoss", "binary", 1, 2, "unknown"),
        ("cldice", "binary", 1, 2, "Did you mean 'clDice'"),
        ("clDice", "surface_normals", 2, 2, "compares foreground against background or classes"),
        ("MSELoss", "inplane_direction", 2, 2, "the output is directions without a sign"),
        ("CosineSimilarityLoss", "inplane_direction", 2, 2, "Losses that can: SignInvariantCosineLoss"),
        ("EigenvalueLoss", "structure_tensor", 3, 3, "symmetric tensors in 3D have 6 channels"),
        ("EigenvalueLoss", "regression", 6, 2, "needs 3 channels in 2D, and the output has 6"),
        (
            "EigenvalueLoss",
            "surface_normals",
            3,
            3,
            "compares symmetric tensors, and the output is directions",
        ),
        ("NormalSmoothnessLoss", "inplane_direction", 3, 3, "directions in the foreground, and the output"),
        ("NormalSmoothnessLoss", "nearest_component", 3, 3, "directions in the foreground, and the output"),
    ],
)
def test_a_loss_says_why_it_cannot_serve(name, encoding, channels, ndim, reason):
    sentence = check_loss(name, encoding, channels, ndim)
    assert sentence
    assert reason in sentence


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_an_activation_without_negative_numbers_cannot_give_directions(activation):
    sentence = str(check_loss("CosineSimilarityLoss", "regression", 3, 3, activation))
    assert f"the activation {activation} leaves none below 0; set the activation to none" in sentence
    assert "MSELoss" in sentence
    assert "NormalSmoothnessLoss" not in sentence
    assert check_loss("CosineSimilarityLoss", "regression", 3, 3, "none") is False


def test_a_refusal_lists_losses_that_can():
    assert "DiceCELoss" in str(check_loss("MSELoss", "classes", 3, 2))
    assert check_loss("DiceCELoss", "classes", 3, 2) is False
    for name in loss_names("surface_normals", 3, 3):
        assert check_loss(name, "surface_normals", 3, 3) is False
    assert "CrossEntropyLoss" not in loss_names("binary")


def test_heads_are_checked_all_at_once(make_head):
    good = make_head()
    check_heads([good], 2)
    bad = [
        make_head(name="a", losses=(LossConfig(name="CrossEntropyLoss"),)),
        make_head(
            name="b",
            losses=(LossConfig(name="SoftDiceLos"), LossConfig(name="SoftDiceLoss", kwargs={"x": 1})),
        ),
        make_head(name="c", losses=()),
        make_head(
            name="d",
            encoding="regression",
            out_channels=2,
            activation="sigmoid",
            losses=(LossConfig(name="CosineSimilarityLoss"),),
        ),
    ]
    with pytest.raises(ConfigError) as raised:
        check_heads([good, *bad], 2)
    text = str(raised.value)
    assert text.startswith("5 faults")
    for part in (
        "- auxiliary_tasks.a.losses: CrossEntropyLoss cannot be used",
        "- auxiliary_tasks.b.losses: loss 'SoftDiceLos'",
        "- auxiliary_tasks.b.losses: SoftDiceLoss has no",
        "- auxiliary_tasks.c.losses: c has no loss",
        "- auxiliary_tasks.d.losses: CosineSimilarityLoss cannot be used: it compares numbers of either sign",
    ):
        assert part in text
    with pytest.raises(ConfigError, match=r"^auxiliary_tasks.a.losses: CrossEntropyLoss"):
        check_heads(bad[:1], 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": 0.0}, "auxiliary_tasks.a.loss_weight: the weight of a is 0"),
        ({"weight": 0.0, "target": "a"}, "dataset_config.targets.a.weight: the weight of a is 0"),
        (
            {"losses": (LossConfig(name="MSELoss", weight=0.0), LossConfig(name="L1Loss", weight=0.0))},
            "auxiliary_tasks.a.losses: every loss of a has the weight 0",
        ),
        (
            {"losses": (LossConfig(name="MSELoss", start_epoch=9), LossConfig(name="L1Loss", weight=0.0))},
            "auxiliary_tasks.a.losses: the losses of a count from epoch 9 on, training has 9 epochs",
        ),
    ],
)
def test_an_output_whose_losses_never_count_has_none(make_head, changes, words):
    with pytest.raises(ConfigError) as raised:
        check_heads([make_head(name="a", **changes)], 2, epochs=9)
    assert str(raised.value) == (
        f"{words}, and an output without a loss would not learn. Change that, or leave it out"
    )
    if "losses" in changes and changes["losses"][0].weight:
        check_heads([make_head(name="a", **changes)], 2, epochs=10)


def test_reading_the_table_loads_no_torch():
    code = (
        "import sys; from napari_segtrain.losses import loss_names, check_loss; loss_names('binary'); "
        "from napari_segtrain.targets import resolve_heads; "
        "print([m for m in ('torch', 'numba', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
