import subprocess
import sys

import pytest

from napari_segtrain.config import ConfigError, LossConfig
from napari_segtrain.losses import LOSSES, check_heads, check_loss, create, describe_losses, loss_names

NEEDED = {
    "SoftDiceLoss", "BCEWithLogitsLoss", "BCEDiceLoss", "CrossEntropyLoss", "DiceCELoss", "MaskedMSELoss",
    "WeightedSmoothL1Loss", "CosineSimilarityLoss", "SignedDistanceLoss",
}  # fmt: skip


def test_the_table_has_what_is_promised_and_builds_it():
    assert set(loss_names()) >= NEEDED
    for name in loss_names():
        assert create(name) is not None
        assert describe_losses()[name].endswith(".")


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'BCEDiceLoss'"):
        create("BCEDicLoss")


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("SoftDiceLoss", {"smoth": 1.0}, "no setting 'smoth'. Did you mean 'smooth'"),
        ("MSELoss", {"beta": 1.0}, "no setting 'beta'. It takes none"),
        ("SmoothL1Loss", {"beta": -1.0}, r"SmoothL1Loss\(beta=-1.0\): beta must be above 0"),
        ("SmoothL1Loss", {"beta": "wide"}, "SmoothL1Loss"),
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
        ("SignedDistanceLoss", "regression", 2, 3, "takes 1 channel, and"),
        ("MSELoss", "classes", 3, 2, "the output is classes"),
        ("SoftDiceLoss", "distance_transform", 1, 2, "the output is distances"),
        ("DizeLoss", "binary", 1, 2, "unknown"),
    ],
)
def test_a_loss_says_why_it_cannot_serve(name, encoding, channels, ndim, reason):
    sentence = check_loss(name, encoding, channels, ndim)
    assert sentence
    assert reason in sentence


def test_a_refusal_lists_losses_that_can():
    assert "DiceCELoss" in str(check_loss("MSELoss", "classes", 3, 2))
    assert check_loss("DiceCELoss", "classes", 3, 2) is False
    for name in loss_names("surface_normals", 3, 3):
        assert check_loss(name, "surface_normals", 3, 3) is False
    assert "CrossEntropyLoss" not in loss_names("binary")
    assert len(loss_names()) == len(LOSSES)


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
    ]
    with pytest.raises(ConfigError) as raised:
        check_heads([good, *bad], 2)
    text = str(raised.value)
    assert text.startswith("4 faults")
    for part in (
        "- auxiliary_tasks.a.losses: CrossEntropyLoss cannot be used",
        "- auxiliary_tasks.b.losses: loss 'SoftDiceLos'",
        "- auxiliary_tasks.b.losses: SoftDiceLoss has no",
        "- auxiliary_tasks.c.losses: c has no loss",
    ):
        assert part in text
    with pytest.raises(ConfigError, match=r"^auxiliary_tasks.a.losses: CrossEntropyLoss"):
        check_heads(bad[:1], 2)


def test_reading_the_table_loads_no_torch():
    code = (
        "import sys; from napari_segtrain.losses import loss_names, check_loss; loss_names('binary'); "
        "from napari_segtrain.targets import resolve_heads; "
        "print([m for m in ('torch', 'numba', 'scipy', 'edt') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
