from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import ConfigError, DataError
from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import MemorySink, PredictionCancelledError

same = {"grey": lambda x: x[:, :1]}


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_identity_network_returns_the_input(data: st.DataObject) -> None:
    # Fixtures are made once a test, Hypothesis runs many: the builders are taken from the module.
    predictor_of, head = BUILDERS
    ndim = data.draw(st.integers(2, 3))
    shape = data.draw(st.tuples(*[st.integers(1, 40 if ndim == 2 else 20)] * ndim))
    predictor = predictor_of(
        same,
        [head("grey")],
        ndim=ndim,
        patch=8,
        overlap=data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.75])),
        blending=data.draw(st.sampled_from(["gaussian", "constant"])),
        batch_size=data.draw(st.sampled_from([None, 1, 3])),
    )
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = predictor.predict_array(image)["grey"]
    assert found.shape == (1, *shape) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], image, atol=3e-6)


BUILDERS: tuple[Callable, Callable]


@pytest.fixture(autouse=True)
def _builders(predictor_of: Callable, head: Callable) -> None:
    global BUILDERS
    BUILDERS = (predictor_of, head)


def test_region_equals_the_same_part_of_the_whole(
    predictor_of: Callable, head: Callable, noise: Callable
) -> None:
    # A network that sees its tile's mean: values depend on where tiles lie.
    outputs = {"grey": lambda x: x - x.mean((2, 3), keepdim=True)}
    predictor = predictor_of(outputs, [head("grey")])
    image = noise(50, 61)
    whole = predictor.predict_array(image)["grey"]
    region = (slice(7, 30), slice(33, 61))
    sink = MemorySink()
    predictor.predict_source(open_source(image), sink, region)
    np.testing.assert_array_equal(sink.arrays["grey"], whole[(slice(None), *region)])


@pytest.mark.parametrize(
    ("ndim", "channels", "shape", "spatial"),
    [
        (2, 1, (20, 30), (20, 30)),
        (2, 1, (1, 20, 30), (20, 30)),
        (2, 1, (5, 20, 30), (5, 20, 30)),
        (2, 3, (3, 20, 30), (20, 30)),
        (2, 3, (20, 30, 3), (20, 30)),
        (2, 3, (5, 20, 30, 3), (5, 20, 30)),
        (2, 3, (5, 3, 20, 30), (5, 20, 30)),
        (2, 3, (20, 30, 4), (20, 30)),
        (3, 1, (9, 20, 30), (9, 20, 30)),
        (3, 1, (1, 9, 20, 30), (9, 20, 30)),
        (3, 2, (2, 9, 20, 30), (9, 20, 30)),
        (3, 2, (9, 20, 30, 2), (9, 20, 30)),
        (3, 3, (9, 20, 30, 3), (9, 20, 30)),
    ],
)
def test_arrays_of_every_layout(
    ndim: int, channels: int, shape: tuple, spatial: tuple, predictor_of: Callable, head: Callable
) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    predictor = predictor_of(same, [head("grey")], ndim=ndim, patch=8, channels=channels)
    found = predictor.predict_array(image)["grey"]
    assert found.shape == (1, *spatial)
    axes = [a for a, n in enumerate(shape) if n == channels and len(shape) > len(spatial)]
    axis = (
        len(shape) - 1 if shape[-1] in (channels, 4) and len(shape) > len(spatial) else next(iter(axes), None)
    )
    expected = image if axis is None else np.take(image, 0, axis)
    np.testing.assert_allclose(found[0], expected.reshape(spatial), atol=1e-3)


def test_planes_of_a_stack_are_predicted_singly(
    predictor_of: Callable, head: Callable, noise: Callable
) -> None:
    predictor = predictor_of(
        {"grey": lambda x: x * x.mean((1, 2, 3), keepdim=True)}, [head("grey")], batch_size=3
    )
    stack = noise(4, 20, 37)
    found = predictor.predict_array(stack)["grey"][0]
    for plane, image in zip(found, stack, strict=True):
        np.testing.assert_allclose(plane, predictor.predict_array(image)["grey"][0], atol=1e-6)


def test_activation_and_scale(predictor_of: Callable, head: Callable, noise: Callable) -> None:
    heads = [
        head("mask", "binary"),
        head("kinds", "classes", 3),
        head("depth", "distance_transform", scale=5.0),
        head("normals", "surface_normals", 2),
    ]
    outputs = {
        "mask": lambda x: x,
        "kinds": lambda x: torch.cat([x, -x, 2 * x], 1),
        "depth": lambda x: [x, x[:, :, ::2, ::2]],
        "normals": lambda x: torch.cat([x * 0 + 3, x * 0 + 4], 1),
    }
    image = noise(16, 16)
    found = predictor_of(outputs, heads).predict_array(image)
    np.testing.assert_allclose(found["mask"][0], 1 / (1 + np.exp(-image)), atol=1e-6)
    expected = torch.softmax(torch.from_numpy(np.stack([image, -image, 2 * image])), 0).numpy()
    np.testing.assert_allclose(found["kinds"], expected, atol=1e-6)
    np.testing.assert_allclose(found["depth"][0], 5 * image, atol=1e-5)
    np.testing.assert_allclose(found["normals"][:, 3, 4], [0.6, 0.8], atol=1e-6)


def test_blended_normals_have_unit_length(predictor_of: Callable, head: Callable, noise: Callable) -> None:
    outputs = {"normals": lambda x: torch.cat([x.roll(1, 2), x.roll(1, 3)], 1)}
    found = predictor_of(outputs, [head("normals", "surface_normals", 2)]).predict_array(noise(40, 40))
    np.testing.assert_allclose(np.linalg.norm(found["normals"], axis=0), 1.0, atol=1e-4)


def test_empty_tiles_are_not_predicted_and_are_background(
    predictor_of: Callable, head: Callable, fixed: type, noise: Callable
) -> None:
    heads = [head("mask", "binary"), head("kinds", "classes", 2)]
    network = fixed({"mask": lambda x: x * 0 + 9, "kinds": lambda x: torch.cat([x * 0, x * 0 + 9], 1)})
    predictor = predictor_of(network, heads, overlap=0.0, skip_empty=True)
    image = np.full((16, 64), 3, np.float32)
    image[:, :16] = noise(16, 16)
    image[5, 40] = 4
    sink = MemorySink()
    result = predictor.predict_source(open_source(image), sink)
    assert network.tiles == 2 and result.skipped == 2 and result.tiles == 4
    expected = np.zeros((16, 64), np.uint8)
    expected[:, :16] = expected[:, 32:48] = 1
    np.testing.assert_array_equal(sink.arrays["mask"][0], expected)
    np.testing.assert_array_equal(sink.arrays["kinds"][0], expected)
    kinds = predictor.predict_array(image)["kinds"]
    np.testing.assert_allclose(kinds.sum(0), 1.0, atol=1e-5)
    everything = predictor_of(network, heads, overlap=0.0, skip_empty=False)
    assert everything.predict_source(open_source(image), MemorySink()).skipped == 0


def test_tile_size_is_the_patch_or_as_given_rounded_up(predictor_of: Callable, head: Callable) -> None:
    assert predictor_of(same, [head("grey")]).tile_size() == (16, 16)
    assert predictor_of(same, [head("grey")], tile_size=(15, 33)).tile_size() == (16, 34)
    with pytest.raises(ConfigError, match=r"has 3 numbers, but the network is 2D"):
        predictor_of(same, [head("grey")], tile_size=(8, 8, 8)).tile_size()


def test_chosen_targets_only(predictor_of: Callable, head: Callable, noise: Callable) -> None:
    outputs = {"grey": lambda x: x, "other": lambda x: -x}
    heads = [head("grey"), head("other")]
    assert list(predictor_of(outputs, heads, targets=("other",)).predict_array(noise(16, 16))) == ["other"]
    with pytest.raises(ConfigError, match=r"'othr' is not an output.*Did you mean 'other'"):
        predictor_of(outputs, heads, targets=("othr",)).predict_array(noise(16, 16))


def test_images_that_do_not_fit_are_refused_in_words(
    predictor_of: Callable, head: Callable, noise: Callable
) -> None:
    planes = predictor_of(same, [head("grey")])
    volumes = predictor_of(same, [head("grey")], ndim=3)
    with pytest.raises(DataError, match=r"2 channel\(s\).*trained on 1"):
        planes.predict_source(open_source(noise(2, 20, 20), channel_axis=0), MemorySink())
    with pytest.raises(DataError, match="trained on 3D data"):
        volumes.predict_source(open_source(noise(20, 20)), MemorySink())
    image = noise(20, 20)
    image[3, 4] = np.nan
    with pytest.raises(DataError, match="not numbers"):
        planes.predict_array(image)
    with pytest.raises(DataError, match="cannot be predicted"):
        planes.predict_source(open_source(noise(20, 20)), MemorySink(), (slice(0, 30), slice(0, 20)))


def test_another_voxel_size_is_said(predictor_of: Callable, head: Callable, noise: Callable) -> None:
    predictor = predictor_of(same, [head("grey")])
    predictor.spacing, predictor.unit = (0.5, 0.5), "micrometer"
    source = open_source(noise(20, 20), spacing=(0.5, 0.5))
    source.unit = "micrometer"
    predictor.predict_source(source, MemorySink())
    assert predictor.messages == []
    source = open_source(noise(20, 20), spacing=(1.0, 1.0))
    source.unit = "micrometer"
    for _ in range(2):
        predictor.predict_source(source, MemorySink())
    assert len(predictor.messages) == 1 and "voxels of 1 × 1 micrometer" in predictor.messages[0]


def test_modes_of_a_live_network_come_back(predictor_of: Callable, head: Callable, noise: Callable) -> None:
    class Dropping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.frozen = torch.nn.Dropout(0.5), torch.nn.BatchNorm2d(1)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            assert not torch.is_grad_enabled()
            return {"grey": self.drop(self.frozen(x))}

    network = Dropping()
    network.train()
    network.frozen.eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    image = noise(16, 16)
    found = predictor_of(network, [head("grey")]).predict_array(image)["grey"]
    np.testing.assert_allclose(found[0], image, atol=1e-4)
    assert network.training and network.drop.training and not network.frozen.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_cancelled_array_prediction_raises(predictor_of: Callable, head: Callable, noise: Callable) -> None:
    with pytest.raises(PredictionCancelledError, match="cancelled"):
        predictor_of(same, [head("grey")]).predict_array(noise(64, 64), cancel=lambda: True)


def test_batches_that_do_not_fit_are_predicted_fewer_at_a_time(
    predictor_of: Callable, head: Callable, noise: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    def scarce(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError("no room")
        return x

    image = noise(40, 40)
    found = predictor_of({"grey": scarce}, [head("grey")], batch_size=4).predict_array(image)["grey"]
    np.testing.assert_allclose(found[0], image, atol=3e-6)
    assert caplog.text.count("do not fit into memory") == 1

    def scarcer(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room at all")

    with pytest.raises(Exception, match=r"a tile of 16,16 does not fit .*choose a smaller tile"):
        predictor_of({"grey": scarcer}, [head("grey")]).predict_array(image)
