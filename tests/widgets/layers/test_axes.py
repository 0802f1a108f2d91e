from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_segtrain.config import DataError, DatasetConfig, ExperimentConfig, TargetConfig
from napari_segtrain.data import open_dataset
from napari_segtrain.data.sources import open_source
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers.axes import (
    Copies,
    Copy,
    array_spec,
    layer_axes,
    painted_in_place,
    store_spec,
)
from napari_segtrain.widgets.layers.data_spec import training_data
from napari_segtrain.widgets.layers.facts import describe_image
from napari_segtrain.workflow import review

pytestmark = pytest.mark.gui


def image(data: Any, **options: Any) -> Any:
    from napari.layers import Image

    return Image(data, **options)


def labels(data: Any, **options: Any) -> Any:
    from napari.layers import Labels

    return Labels(data, **options)


def random(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "options", "ndim", "channel", "letters", "dimension"),
    [
        ((20, 30), {}, None, None, "yx", 2),
        ((9, 20, 30), {}, None, None, "zyx", 3),
        ((9, 20, 30), {}, 2, None, "zyx", 2),
        ((1, 20, 30), {}, None, None, "zyx", 2),
        ((1, 20, 30), {}, 3, None, "zyx", 3),
        ((9, 20, 30), {"axis_labels": ("t", "y", "x")}, None, None, "tyx", 2),
        ((3, 20, 30), {"axis_labels": ("c", "y", "x")}, None, None, "cyx", 2),
        ((20, 30, 4), {}, None, 2, "yxc", 2),
        ((4, 9, 20, 30), {}, None, 0, "czyx", 3),
        ((9, 4, 20, 30), {"axis_labels": ("z", "channel", "y", "x")}, None, None, "zcyx", 3),
        ((5, 9, 20, 30), {}, None, None, "tzyx", 3),
        ((20, 30, 3), {"rgb": True}, None, None, "yxs", 2),
        ((9, 20, 30, 3), {"rgb": True}, None, None, "zyxs", 3),
    ],
)
def test_axes_are_told_from_labels_and_settings(
    shape: Any, options: Any, ndim: Any, channel: Any, letters: str, dimension: int
) -> None:
    axes = layer_axes(image(random(*shape), **options), ndim, channel)
    assert (axes.letters, axes.ndim) == (letters, dimension)
    assert [axes.letters[axis] for axis in axes.spatial] == list("zyx"[-dimension:])


def test_too_few_axes_are_refused_in_words() -> None:
    with pytest.raises(DataError, match="needs 3; change the dimension"):
        layer_axes(image(random(20, 30)), 3)
    with pytest.raises(DataError, match="channel axis 5"):
        layer_axes(image(random(9, 20, 30)), None, 5)


@pytest.mark.parametrize(
    "kind", ["numpy", "zarr", "dask of zarr", "dask", "memmap", "sliced memmap", "group"]
)
def test_the_engine_reads_what_the_layer_shows(tmp_path: Path, kind: str) -> None:
    values = random(6, 20, 30)
    group = zarr.open_group(tmp_path / "image.zarr", mode="w")
    stored = group.create_array("s0", data=values, chunks=(3, 10, 10))
    file = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=values.shape)
    file[:] = values
    data = {
        "numpy": values,
        "zarr": stored,
        "dask of zarr": da.from_zarr(str(tmp_path / "image.zarr" / "s0")),
        "dask": da.from_array(values, chunks=(3, 10, 10)) + 0,
        "memmap": file,
        "sliced memmap": file[:, ::1, 2:],
        "group": da.from_array(stored),
    }[kind]
    layer = image(data)
    copies = Copies()
    spec = array_spec("image", [layer], layer_axes(layer), copies)
    assert bool(copies.items) == (kind in ("numpy", "dask", "sliced memmap")), "copied only where it must be"
    list(copies.write(Scratch(tmp_path / "scratch")))
    source = open_source(spec)
    np.testing.assert_array_equal(
        source.read((slice(0, 6), slice(2, 9), slice(3, 8)))[0], np.asarray(data)[:, 2:9, 3:8]
    )
    assert source.shape == tuple(data.shape)


def test_a_dask_array_that_was_computed_with_is_no_store(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=random(8, 8))
    array = da.from_zarr(str(tmp_path / "a.zarr"))
    assert store_spec(array) is not None
    assert store_spec(array + 1) is None
    assert store_spec(array[2:]) is None


def test_only_stores_that_are_painted_themselves_need_no_copy(tmp_path: Path) -> None:
    stored = zarr.create_array(tmp_path / "a.zarr", data=random(8, 8))
    assert painted_in_place(stored)
    assert not painted_in_place(da.from_zarr(str(tmp_path / "a.zarr")))
    assert not painted_in_place(random(8, 8))
    np.save(tmp_path / "a.npy", random(8, 8))
    assert painted_in_place(np.load(tmp_path / "a.npy", mmap_mode="r+"))
    assert not painted_in_place(np.load(tmp_path / "a.npy", mmap_mode="c"))


def opened(data: Any, tmp_path: Path, config: DatasetConfig) -> Any:
    list(data.copies.write(Scratch(tmp_path / "scratch")))
    return open_dataset(data.spec, config)


@pytest.mark.parametrize(
    ("shape", "options", "painted", "records", "channels"),
    [
        ((40, 50), {}, (40, 50), ["cells"], 1),
        ((40, 50, 3), {"rgb": True}, (40, 50), ["cells"], 3),
        ((4, 40, 50), {"axis_labels": ("c", "y", "x")}, (40, 50), ["cells"], 4),
        ((3, 40, 50), {"axis_labels": ("t", "y", "x")}, (3, 40, 50), ["cells[0]", "cells[1]", "cells[2]"], 1),
        ((12, 40, 50), {}, (12, 40, 50), ["cells"], 1),
        ((2, 12, 40, 50), {"axis_labels": ("c", "z", "y", "x")}, (12, 40, 50), ["cells"], 2),
    ],
)
def test_layers_become_records(
    tmp_path: Path, shape: Any, options: Any, painted: Any, records: list[str], channels: int
) -> None:
    layer = image(
        random(*shape), name="cells", scale=(2.0,) * (len(shape) - bool(options.get("rgb"))), **options
    )
    paint = labels((random(*painted) > 99).astype(np.uint8), name="cells_nuclei")
    config = DatasetConfig(targets={"nuclei": TargetConfig(kind="binary")})
    data = training_data([layer], {"nuclei": (paint, None)}, config, all_layers=[layer, paint])
    dataset = opened(data, tmp_path, config)
    assert list(dataset.records) == records
    record = dataset.records[records[0]]
    assert record.image.channels == channels
    assert set(record.spacing) == {2.0}
    place = tuple(slice(0, n) for n in record.shape)
    wanted = paint.data[0] if len(records) > 1 else paint.data
    np.testing.assert_array_equal(record.labels["nuclei"].read(place)[0], wanted)


@pytest.mark.parametrize("painted", [(40, 50), (1, 40, 50)])
@pytest.mark.parametrize("ndim", [None, 2])
def test_a_plane_may_have_an_axis_of_length_1(tmp_path: Path, painted: Any, ndim: Any) -> None:
    layer, paint = image(random(1, 40, 50), name="a"), labels(np.ones(painted, np.uint8), name="a_t")
    config = DatasetConfig(ndim=ndim, targets={"t": TargetConfig(kind="binary")})
    data = training_data([layer], {"t": (paint, None)}, config, all_layers=[layer, paint])
    dataset = opened(data, tmp_path, config)
    assert not dataset.faults
    assert dataset.records["a"].labels["t"].shape == dataset.records["a"].shape == (40, 50)


def test_a_plane_is_refused_where_a_volume_is_asked_for(tmp_path: Path) -> None:
    layer, paint = image(random(1, 40, 50), name="a"), labels(np.ones((40, 50), np.uint8), name="a_t")
    config = ExperimentConfig.parse({"dataset_config": {"ndim": 3, "targets": {"t": {"kind": "binary"}}}})
    data = training_data([layer], {"t": (paint, None)}, config.dataset_config, all_layers=[layer, paint])
    reviewed = review(config, opened(data, tmp_path, config.dataset_config))
    with pytest.raises(DataError) as caught:
        reviewed.checked()
    text = str(caught.value)
    assert "labels 't': a_t: a plane of shape (40, 50) was given where a volume is needed" in text
    assert "set dataset_config.ndim to 2" in text


def test_a_mask_and_two_targets_of_one_layer_are_shared_once(tmp_path: Path) -> None:
    layer, paint = image(random(40, 50), name="a"), labels(random(40, 50) % 3, name="classes")
    mask = labels((random(40, 50) > 9).astype(np.uint8), name="field")
    config = DatasetConfig(
        targets={
            "one": TargetConfig(labels="classes", values=(1,), kind="binary", mask="field"),
            "two": TargetConfig(labels="classes", values=(2,), kind="binary"),
        }
    )
    targets = {"one": (paint, mask), "two": (paint, None)}
    data = training_data([layer], targets, config, all_layers=[layer, paint, mask])
    assert len(data.copies.items) == 3, "the image, the labels, the mask"
    followed = [(mirror.layer, mirror.targets) for mirror in data.mirrors]
    assert followed == [(paint, ("one", "two")), (mask, ("one",))]
    record = opened(data, tmp_path, config).records["a"]
    assert set(record.labels) == {"one", "two"}
    assert set(record.masks) == {"one"}


def test_further_images_find_their_labels_by_name(tmp_path: Path) -> None:
    first, second = image(random(40, 50), name="a"), image(random(30, 20), name="b")
    on_first, on_second = (
        labels(random(40, 50) % 3, name="a_cells"),
        labels(random(30, 20) % 3, name="b_cells"),
    )
    layers = [first, second, on_first, on_second]
    config = DatasetConfig(targets={"cells": TargetConfig()})
    data = training_data([first, second], {"cells": (on_first, None)}, config, all_layers=layers)
    dataset = opened(data, tmp_path, config)
    assert dataset.records["b"].labels["cells"].shape == (30, 20)
    assert dataset.records["a"].labels["cells"].shape == (40, 50)


def test_several_layers_can_be_the_channels_of_one_image(tmp_path: Path) -> None:
    red, green = image(random(40, 50), name="red"), image(255 - random(40, 50), name="green")
    paint = labels(random(40, 50) % 2, name="cells")
    config = DatasetConfig(targets={"cells": TargetConfig()})
    data = training_data(
        [red, green], {"cells": (paint, None)}, config, all_layers=[red, green, paint], as_channels=True
    )
    record = opened(data, tmp_path, config).records["red"]
    block = record.image.read((slice(0, 5), slice(0, 5)))
    np.testing.assert_array_equal(block, np.stack([red.data[:5, :5], green.data[:5, :5]]))


def test_a_multiscale_image_is_trained_on_at_its_level(tmp_path: Path) -> None:
    levels = [random(64, 64), random(32, 32)]
    layer = image(levels, multiscale=True, name="a", scale=(0.5, 0.5))
    paint = labels(random(32, 32) % 2, name="cells")
    config = DatasetConfig(targets={"cells": TargetConfig()}, level=1)
    data = training_data([layer], {"cells": (paint, None)}, config, all_layers=[layer, paint])
    record = opened(data, tmp_path, config).records["a"]
    assert record.shape == (32, 32)
    assert record.spacing == (1.0, 1.0)
    assert "image of 32 × 32" in describe_image(layer, config)


def test_multiscale_labels_are_read_at_the_level_that_fits_the_image(tmp_path: Path) -> None:
    layer = image(random(32, 32), name="a")
    paint = labels([random(64, 64) % 3, random(32, 32) % 3], multiscale=True, name="cells")
    config = DatasetConfig(targets={"cells": TargetConfig()})
    data = training_data([layer], {"cells": (paint, None)}, config, all_layers=[layer, paint])
    (mirror,) = data.mirrors
    assert (mirror.shape, mirror.level) == ((32, 32), 1)
    record = opened(data, tmp_path, config).records["a"]
    np.testing.assert_array_equal(record.labels["cells"].read((slice(0, 32),) * 2)[0], mirror.array)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((40, 51), r"image 'a' has the shape \(40, 50\), but its layer 'cells' \(40, 51\)"),
        ((3, 40, 51), "labels and masks must cover"),
    ],
)
def test_labels_of_another_shape_are_refused(shape: Any, expected: str) -> None:
    layer, paint = image(random(40, 50), name="a"), labels(random(*shape), name="cells")
    with pytest.raises(DataError, match=expected):
        training_data([layer], {"cells": (paint, None)}, DatasetConfig(), all_layers=[layer, paint])


def test_nothing_to_train_on_is_refused() -> None:
    layer, paint = image(random(40, 50), name="a"), labels(random(40, 50), name="cells")
    with pytest.raises(DataError, match="no image layer is chosen"):
        training_data([], {"cells": (paint, None)}, DatasetConfig(), all_layers=[])
    with pytest.raises(DataError, match="no target"):
        training_data([layer], {}, DatasetConfig(), all_layers=[])


def test_images_are_described_in_a_sentence() -> None:
    volume = image(random(4, 20, 30), scale=(2, 0.5, 0.5), units=("um",) * 3)
    assert (
        describe_image(volume, DatasetConfig()) == "volume of 4 × 20 × 30, 1 channel, voxel 2 × 0.5 × 0.5 µm"
    )
    assert describe_image(volume, DatasetConfig(ndim=2)).startswith("4 images of 20 × 30, 1 channel")
    assert "RGB" in describe_image(image(random(20, 30, 3), rgb=True), DatasetConfig())
    assert "image of 20 × 30, 4 channels" in describe_image(volume, DatasetConfig(channel_axis=0))


def test_a_layer_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    class Gone:
        shape, dtype, ndim = (8, 9), np.dtype(np.uint8), 2

        def __getitem__(self, index: Any) -> Any:
            raise OSError("the share is gone")

    copies = Copies(
        [Copy("image_0", (Gone(),), {"name": "cells"}), Copy("c", (Gone(), Gone()), {"name": "b"})]
    )
    with pytest.raises(
        DataError, match=r"layer 'cells': its voxels cannot be read \(OSError: the share is gone"
    ):
        list(copies.write(Scratch.create(tmp_path)))
    with pytest.raises(DataError, match=r"layer 'b': its voxels cannot be read"):
        copies.items[1].write(Scratch.create(tmp_path))
