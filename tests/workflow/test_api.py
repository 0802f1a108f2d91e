"""What a script does: train, score and predict arrays of every kind."""

import doctest
import inspect
import sys

import numpy as np
import pytest

import napari_segtrain
from napari_segtrain import ExperimentConfig, evaluate, predict, train
from napari_segtrain.config import DataError
from napari_segtrain.training.steps import take_apart

TINY = {
    "tr_setup": {"device": "cpu", "num_workers": 0},
    "tr_config": {
        "num_epochs": 1,
        "steps_per_epoch": 1,
        "batch_size": 1,
        "val_steps": 1,
        "evaluate_after": "none",
    },
    "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return runs by name: a plane of one, two and three channels, and a volume."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("api")

    def run(name, image, targets, patch, **layer):
        labels = {t: (rng.integers(0, 4, layer.pop("shape", image.shape)).astype(np.uint8)) for t in targets}
        config = ExperimentConfig.parse({**TINY, "dataset_config": {"targets": targets}})
        config = config.with_overrides({"tr_config.patch_size": patch})
        layers = [{"id": "a", "image": image, "labels": labels, **layer}]
        return train(config, {"layers": layers}, folder / name).path

    kinds = {"some": {"kind": "classes"}, "each": {"kind": "instances"}, "much": {"kind": "regression"}}
    plane, mask = rng.integers(0, 255, (48, 40)).astype(np.uint8), {"mask": {"kind": "binary", "values": [1]}}
    return {
        "grey": run("grey", plane, kinds, [16, 16]),
        "colours": run("colours", np.stack([plane] * 3, -1), mask, [16, 16], shape=plane.shape),
        "two": run("two", np.stack([plane] * 2), mask, [16, 16], shape=plane.shape, channel_axis=0),
        "volume": run("volume", rng.random((20, 24, 28), np.float32), mask, [8, 16, 16]),
    }


@pytest.mark.parametrize(
    ("run", "shape", "spatial"),
    [
        ("grey", (40, 44), (40, 44)),
        ("grey", (7, 9), (7, 9)),
        ("grey", (1, 40, 44), (40, 44)),
        ("grey", (40, 44, 1), (40, 44)),
        ("grey", (5, 40, 44), (5, 40, 44)),
        ("colours", (40, 44, 3), (40, 44)),
        ("colours", (3, 40, 44), (40, 44)),
        ("colours", (40, 44, 4), (40, 44)),
        ("colours", (5, 40, 44, 3), (5, 40, 44)),
        ("two", (2, 40, 44), (40, 44)),
        ("two", (40, 44, 2), (40, 44)),
        ("two", (5, 2, 40, 44), (5, 40, 44)),
        ("volume", (20, 40, 44), (20, 40, 44)),
        ("volume", (1, 20, 40, 44), (20, 40, 44)),
        ("volume", (20, 40, 44, 1), (20, 40, 44)),
        ("volume", (3, 5, 6), (3, 5, 6)),
    ],
)
def test_an_array_of_any_layout_gives_arrays_of_its_spatial_shape(trained, run, shape, spatial):
    image = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    found = predict(trained[run], image, overlap=0.0)
    assert {array.shape for array in found.values()} == {spatial}
    if run != "grey":
        assert {name: array.dtype for name, array in found.items()} == {"mask": np.uint8}


def test_types_follow_from_what_an_output_is(trained):
    image = np.random.default_rng(1).integers(0, 255, (40, 44), dtype=np.uint8)

    def types(**settings):
        found = predict(trained["grey"], image, **settings)
        return {name: (array.ndim, array.dtype.name) for name, array in found.items()}

    assert types() == {"some": (2, "uint8"), "each": (2, "uint8"), "much": (2, "float32")}
    assert types(instances=True)["each"] == (2, "int32")
    assert types(output="probabilities")["some"] == (3, "float32")
    assert types(output="uint8", targets=("each",)) == {"each": (2, "uint8")}


@pytest.mark.parametrize(
    "dtype", ["bool", "int16", "uint16", ">u2", "int64", "float16", "float32", "float64"]
)
def test_the_type_of_the_image_does_not_matter(trained, dtype):
    image = np.random.default_rng(1).integers(0, 2, (40, 44), dtype=np.uint8)
    wanted = predict(trained["grey"], image, targets=("some",))["some"]
    np.testing.assert_array_equal(predict(trained["grey"], image.astype(dtype))["some"], wanted)
    turned = np.asfortranarray(image)[::-1]
    again = predict(trained["grey"], np.ascontiguousarray(turned))["some"]
    np.testing.assert_array_equal(predict(trained["grey"], turned)["some"], again)


@pytest.mark.parametrize(
    ("run", "image", "words"),
    [
        ("grey", np.zeros((40, 44, 3), np.uint8), "has 3 channel"),
        ("colours", np.zeros((40, 44), np.uint8), "has 1 channel"),
        ("volume", np.zeros((40, 44), np.uint8), "a plane of shape"),
        ("volume", np.zeros((2, 20, 40, 44), np.uint8), "has 2 channel"),
        ("grey", np.full((40, 44), np.nan, np.float32), "not numbers"),
        ("grey", np.zeros((40, 44), complex), "complex128"),
        ("grey", [[0, 1], [1, 0]], "list is not an image"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_in_words(trained, run, image, words):
    with pytest.raises(DataError, match=words):
        predict(trained[run], image, skip_empty=False)


def test_the_spacing_has_a_number_an_axis(trained):
    assert predict(trained["volume"], np.ones((8, 16, 16)), spacing=(2.0, 0.5, 0.5))["mask"].ndim == 3
    with pytest.raises(DataError, match="Give 3 numbers above 0"):
        predict(trained["volume"], np.ones((8, 16, 16)), spacing=(0.5, 0.5))


def test_the_examples_of_the_documentation_run(disc_folder, tmp_path, monkeypatch):
    disc_folder(count=2, shape=(20, 40, 48))
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for function in (train, evaluate, predict, take_apart):
        example = doctest.DocTestParser().get_doctest(
            inspect.getdoc(function), {}, function.__name__, None, None
        )
        assert example.examples, function.__name__
        runner.run(example, out=sys.stderr.write)
    assert runner.failures == 0
    assert runner.tries > 14


def test_every_public_name_explains_itself():
    for name in napari_segtrain.__all__:
        value = getattr(napari_segtrain, name)
        assert isinstance(value, str) or inspect.getdoc(value), name
