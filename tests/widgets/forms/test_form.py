from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QLineEdit, QSpinBox, QWidget

from napari_segtrain.config import (
    SGD,
    AugmentationConfig,
    Config,
    ConfigError,
    DatasetConfig,
    DistanceTransformTask,
    InferenceConfig,
    LossConfig,
    NetworkConfig,
    Percentile,
    SurfaceNormalsTask,
    TargetConfig,
    TrConfig,
    TrSetup,
    WarmupCosine,
)
from napari_segtrain.widgets.forms.form import Form
from napari_segtrain.widgets.forms.schema import Key, Shape, keys_of
from napari_segtrain.workflow.graph.parameters import PredictorParameters

MODELS: list[type[Config]] = [
    TrSetup,
    TrConfig,
    NetworkConfig,
    DatasetConfig,
    AugmentationConfig,
    InferenceConfig,
    TargetConfig,
    DistanceTransformTask,
    SurfaceNormalsTask,
    SGD,
    WarmupCosine,
    Percentile,
    PredictorParameters,
]

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

TEXTS: dict[str, st.SearchStrategy[Any]] = {
    "device": st.sampled_from(["auto", "cpu", "cuda:1"]),
    "source_target": st.sampled_from(["nuclei", "ä b"]),
    "monitor": st.sampled_from(["val_loss", "val_nuclei_dice"]),
}
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
LOSSES = st.builds(
    LossConfig,
    name=st.sampled_from(["BCEDiceLoss", "SignedDistanceLoss", "Unheard"]),
    weight=st.floats(1e-9, 1e6),
    kwargs=st.dictionaries(
        st.sampled_from(["rho", "beta", "on", "no", "with space", "1"]),
        st.one_of(
            st.floats(-1e9, 1e9),
            st.integers(-99, 99),
            st.booleans(),
            st.none(),
            st.text("ab,:{}'\" #", max_size=6),
        ),
        max_size=3,
    ),
    start_epoch=st.integers(0, 10**6),
)


def numbers(key: Key) -> st.SearchStrategy[Any]:
    if key.shape is Shape.INT:
        low = int(key.lower if key.lower is not None else -(2**30)) + key.lower_open
        return st.integers(low, int(key.upper if key.upper is not None else 2**30) - key.upper_open)
    return st.floats(
        key.lower if key.lower is not None else -1e12,
        key.upper if key.upper is not None else 1e12,
        exclude_min=key.lower_open,
        exclude_max=key.upper_open,
        allow_subnormal=False,
    ).filter(lambda x: x == 0 or abs(x) > 1e-18)


def sequences(key: Key) -> st.SearchStrategy[Any]:
    if key.name == "spacing":
        return st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=3).map(tuple)
    if key.name in ("patch_size", "tile_size"):
        return st.lists(st.integers(4, 4096), min_size=2, max_size=3).map(tuple)
    item = st.integers(1, 99) if key.item is int else NAMES
    rows = st.lists(item, min_size=1, max_size=4).map(tuple)
    return st.lists(rows, min_size=1, max_size=4).map(tuple) if key.nested else rows


def values(key: Key) -> st.SearchStrategy[Any]:
    strategy: st.SearchStrategy[Any]
    if key.shape in (Shape.INT, Shape.FLOAT):
        strategy = numbers(key)
    elif key.shape is Shape.BOOL:
        strategy = st.booleans()
    elif key.shape is Shape.CHOICE:
        strategy = st.sampled_from(key.choices)
    elif key.shape is Shape.TEXT:
        strategy = TEXTS.get(key.name, NAMES)
    elif key.shape is Shape.SEQUENCE:
        strategy = sequences(key)
    elif key.shape is Shape.LOSSES:
        strategy = st.lists(LOSSES, max_size=3).map(tuple)
    elif key.shape in (Shape.UNION, Shape.GROUP):
        strategy = st.one_of(*(models(model) for model in key.models))
    else:
        pytest.fail(f"no values for {key}")
    return st.none() | strategy if key.optional else strategy


def models(model: type[Config]) -> st.SearchStrategy[Config]:
    keys = {key.name: values(key) for key in keys_of(model) if key.shape is not Shape.MAPPING}
    if model is TargetConfig:
        keys["activation"] = st.none()
    drawn = st.fixed_dictionaries(keys)
    if model is TrSetup:  # a fold is one of the folds
        drawn = drawn.map(lambda given: {**given, "fold": given["fold"] % (given["folds"] or 1)})
    return drawn.map(model.model_validate)


@pytest.fixture(scope="module")
def forms(qapp: Any) -> dict[type[Config], Form]:
    skip = {DatasetConfig: ("targets",)}
    return {model: Form(model, skip=skip.get(model, ())) for model in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_value_comes_back_as_it_was_set(forms: dict[type[Config], Form], model: type[Config]) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(models(model))
    def round_trip(value: Config) -> None:
        forms[model].set_value(value)
        assert forms[model].value() == value

    round_trip()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_has_a_control_with_its_name_and_description(model: type[Config], qapp: Any) -> None:
    form = Form(model, skip=("targets",) if model is DatasetConfig else ())
    for key in keys_of(model):
        if model is DatasetConfig and key.name == "targets":
            continue
        control = form.findChild(QWidget, key.name)
        assert control is not None, key.name
        assert key.description.split(".")[0] in form.editors[key.name].toolTip(), key.name
        assert form.editors[key.name].accessibleName() == key.title


def test_a_new_form_shows_the_defaults() -> None:
    for model in (TrSetup, TrConfig, NetworkConfig, InferenceConfig, TargetConfig):
        assert Form(model).value() == model()


def test_controls_are_the_ones_that_a_user_expects() -> None:
    form = Form(TrConfig)
    epochs = form.findChild(QSpinBox, "num_epochs")
    assert (epochs.minimum(), epochs.suffix()) == (1, " epochs")
    epochs.setValue(7)
    form.findChild(QDoubleSpinBox, "ema_decay").setValue(0.999)
    form.findChild(QLineEdit, "patch_size").setText("64, 64,32")
    form.findChild(QComboBox, "optimizer").setCurrentText("SGD")
    value = form.value()
    assert (value.num_epochs, value.ema_decay, value.patch_size) == (7, 0.999, (64, 64, 32))
    assert value.optimizer == SGD()


def test_common_keys_are_visible_and_the_others_folded(qapp: Any) -> None:
    form = Form(TrConfig)
    form.show()
    assert form.findChild(QSpinBox, "num_epochs").isVisible()
    assert not form.findChild(QSpinBox, "accumulate").isVisible()
    form.more.expand(animate=False)
    assert form.findChild(QSpinBox, "accumulate").isVisible()
    form.close()


def test_empty_says_what_it_means_and_typing_nothing_gives_it_back() -> None:
    form = Form(TrConfig)
    batch, limit = form.editors["batch_size"], form.editors["max_time"]
    assert (batch.text(), limit.text()) == ("auto", "no limit")
    batch.set_value(4)
    batch.lineEdit().setText("")
    batch.interpretText()
    assert batch.value() is None
    limit.lineEdit().setText("1e-3")
    limit.interpretText()
    assert limit.value() == 0.001


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("patch_size", "64, x", "cannot be read; write it like 64, 64, 64"),
        ("patch_size", "64", "two \\(2D\\) or three \\(3D\\) numbers"),
    ],
)
def test_a_bad_value_is_refused_in_words_and_marked(key: str, text: str, expected: str) -> None:
    form = Form(TrConfig)
    form.editors[key].setText(text)
    with pytest.raises(ConfigError, match=expected):
        form.value()
    assert form.editors[key].toolTip().count("\n") >= 1, "the tooltip says what is wrong"
    marked = [label.text() for label in form.findChildren(QLabel) if "⚠" in label.text()]
    assert marked == ["⚠ Patch size"], "not by colour alone"
    form.editors[key].setText("32, 32")
    assert not form.editors[key].styleSheet()
    assert form.editors[key].toolTip().endswith("In px.")
    assert form.value().patch_size == (32, 32)


@pytest.mark.parametrize(
    ("key", "number", "text"),
    [("num_epochs", 1, "1 epoch"), ("num_epochs", 2, "2 epochs"), ("accumulate", 1, "1 batch")],
)
def test_units_agree_with_their_number(key: str, number: int, text: str) -> None:
    form = Form(TrConfig)
    editor = form.editors[key]
    editor.set_value(number)
    assert editor.text() == text
    assert editor.value() == number


def test_a_change_is_announced_once() -> None:
    form = Form(TrConfig)
    heard: list[int] = []
    form.changed.connect(lambda: heard.append(1))
    form.editors["num_epochs"].set_value(9)
    assert heard == [1]
    form.set_value(TrConfig(num_epochs=11, patch_size=(8, 8), optimizer=SGD()))
    assert heard == [1, 1]


def test_skipped_keys_keep_what_was_set() -> None:
    form = Form(DatasetConfig, skip=("targets",))
    value = DatasetConfig(targets={"nuclei": TargetConfig(kind="instances")}, ndim=3)
    form.set_value(value)
    assert form.value() == value
