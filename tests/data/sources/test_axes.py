"""Which axis is what: from metadata, from options, from the shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_segtrain.config import DataError
from napari_segtrain.data import open_source, open_sources


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "expected"),
    [
        ((30, 40), "uint8", {}, (1, 30, 40)),
        ((6, 30, 40), "uint8", {}, (1, 6, 30, 40)),
        ((30, 40, 3), "uint8", {}, (3, 30, 40)),
        ((30, 40, 4), "uint8", {}, (3, 30, 40)),
        ((30, 40, 3), "uint16", {}, (1, 30, 40, 3)),
        ((30, 40, 3), "uint8", {"labels": True}, (1, 30, 40, 3)),
        ((30, 40, 3), "uint8", {"ndim": 3}, (1, 30, 40, 3)),
        ((30, 40, 2), "float32", {"channel_axis": -1}, (2, 30, 40)),
        ((2, 30, 40), "float32", {"channel_axis": 0}, (2, 30, 40)),
        ((5, 30, 40, 3), "uint8", {}, (3, 5, 30, 40)),
        ((2, 6, 30, 40), "uint16", {}, (2, 6, 30, 40)),
        ((6, 2, 30, 40), "uint16", {"channel_axis": 1}, (2, 6, 30, 40)),
        ((1, 2, 6, 30, 40), "uint16", {}, (2, 6, 30, 40)),
        ((1, 1, 1, 2, 6, 30, 40), "uint16", {}, (2, 6, 30, 40)),
        ((1, 30, 40), "uint8", {}, (1, 30, 40)),
        ((1, 30, 40), "uint8", {"ndim": 3}, (1, 1, 30, 40)),
    ],
)
def test_shape_alone_tells_the_axes(shape, dtype, options, expected) -> None:
    source = open_source(np.zeros(shape, dtype), **options)
    assert (source.channels, *source.shape) == expected


def test_a_stack_opens_as_its_planes() -> None:
    stack = np.random.default_rng(0).integers(0, 9, (5, 8, 9), dtype=np.uint16)
    planes = open_sources(stack, ndim=2)
    assert [p.shape for p in planes] == [(8, 9)] * 5
    for k, plane in enumerate(planes):
        np.testing.assert_array_equal(plane.read((slice(1, 4), slice(0, 9)))[0], stack[k, 1:4])
    assert open_sources(stack, ndim=2, spacing=(3, 2, 1))[0].spacing == (2.0, 1.0)
    with pytest.raises(DataError, match="a stack of 5 images"):
        open_source(stack, ndim=2)


def test_a_film_of_volumes_opens_as_its_volumes() -> None:
    film = np.random.default_rng(0).integers(0, 9, (3, 2, 4, 8, 9), dtype=np.uint16)
    volumes = open_sources(film)
    assert [(v.channels, *v.shape) for v in volumes] == [(2, 4, 8, 9)] * 3
    np.testing.assert_array_equal(volumes[2].read((slice(0, 4), slice(0, 8), slice(0, 9))), film[2])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((30,), {}, r"shape \(30\) is not an image"),
        ((0, 30), {}, "is not an image"),
        ((2, 2, 2, 2, 30, 30), {}, "too many axes"),
        ((30, 40), {"ndim": 3}, "a plane of shape"),
        ((30, 40), {"channel_axis": 0}, "leave the channel axis empty"),
        ((3, 30, 40), {"channel_axis": 3}, "Allowed: 0 to 2"),
        ((30, 40), {"spacing": (1.0, 1.0, 1.0)}, "Give 2 numbers"),
        ((30, 40), {"spacing": (1.0, 0.0)}, "above 0"),
        ((30, 40), {"level": 2}, r"has 1 \(0 to 0\)"),
    ],
)
def test_impossible_axes_are_refused_in_words(shape, options, message) -> None:
    with pytest.raises(DataError, match=message):
        open_source(np.zeros(shape, np.uint8), **options)


def test_numbers_that_are_not_real_are_refused() -> None:
    with pytest.raises(DataError, match="voxels of type complex128"):
        open_source(np.zeros((4, 4), complex))
    with pytest.raises(DataError, match=r"voxels of type torch.uint8 cannot be read.*cpu\(\)\.numpy\(\)"):
        open_source(pytest.importorskip("torch").zeros((4, 4), dtype=pytest.importorskip("torch").uint8))
    with pytest.raises(DataError, match="list is not an image"):
        open_source([])
    with pytest.raises(DataError, match="int is not an image"):
        open_source(3)


def test_a_dask_array_of_unknown_shape_is_refused() -> None:
    array = pytest.importorskip("dask.array").zeros((8, 8), chunks=4)
    with pytest.raises(DataError, match="compute_chunk_sizes"):
        open_source(array[array[:, 0] > 1])


def test_the_transparency_of_colours_is_dropped_and_said() -> None:
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 4), dtype=np.uint8)
    source = open_source(image)
    np.testing.assert_array_equal(
        source.read((slice(0, 30), slice(0, 40))), np.moveaxis(image[..., :3], -1, 0)
    )
    assert "transparency" in source.notes[0]
    assert open_source(image[..., :3]).notes == ()


@pytest.mark.parametrize("version", ["ome4", "ome5"])
def test_ome_zarr_gives_level_scale_and_unit(writers, version: str, tmp_path: Path) -> None:
    image = np.arange(2 * 6 * 12 * 16, dtype=np.uint16).reshape(2, 6, 12, 16)
    path, _ = writers[version](tmp_path, image)
    fine, coarse = open_source(path), open_source(path, level=1)
    assert (fine.spacing, fine.unit) == ((2.0, 0.5, 0.25), "micrometer")
    assert (coarse.channels, *coarse.shape) == (2, 3, 6, 8)
    assert coarse.spacing == (4.0, 1.0, 0.5)
    np.testing.assert_array_equal(
        coarse.read((slice(0, 3), slice(0, 6), slice(0, 8))), image[:, ::2, ::2, ::2]
    )
    assert open_source({"kind": "zarr", "path": str(path), "level": 1}).shape == (3, 6, 8)
    assert open_source(path, spacing=(3, 2, 1)).spacing == (3.0, 2.0, 1.0)
    with pytest.raises(DataError, match=r"has 2 \(0 to 1\)"):
        open_source(path, level=2)


def test_ome_zarr_axes_come_in_any_order(tmp_path: Path) -> None:
    import zarr

    image = np.arange(5 * 8 * 9 * 2, dtype=np.uint16).reshape(9, 5, 2, 8)
    group = zarr.open_group(str(tmp_path / "odd.zarr"), mode="w", zarr_format=2)
    group.create_array("s0", data=image)
    axes = [
        {"name": n, "type": t} for n, t in zip("xzcy", ["space", "space", "channel", "space"], strict=True)
    ]
    scale = [{"type": "scale", "scale": [0.1, 0.4, 1.0, 0.2]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": scale}]}
    ]
    source = open_source(tmp_path / "odd.zarr")
    assert (source.channels, *source.shape) == (2, 5, 8, 9)
    assert source.spacing == (0.4, 0.2, 0.1)
    whole = source.read((slice(None),) * 3)
    np.testing.assert_array_equal(whole, image.transpose(2, 1, 3, 0))


def test_imagej_and_ome_tiffs_give_spacing_and_unit(tmp_path: Path) -> None:
    import tifffile

    image = np.zeros((5, 32, 40), np.uint16)
    metadata = {"axes": "ZYX", "spacing": 2.5, "unit": "um"}
    tifffile.imwrite(tmp_path / "ij.tif", image, imagej=True, metadata=metadata, resolution=(2, 4))
    source = open_source(tmp_path / "ij.tif")
    assert (source.spacing, source.unit) == ((2.5, 0.25, 0.5), "micrometer")
    metadata = {"axes": "ZYX", "PhysicalSizeX": 40.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 30.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata=metadata)
    source = open_source(tmp_path / "a.ome.tif")
    assert (source.spacing, source.unit) == ((30.0, 30.0, 40.0), "nanometer")  # z is not said: the finest
    tifffile.imwrite(tmp_path / "plain.tif", image, resolution=(72, 72), resolutionunit="INCH")
    assert open_source(tmp_path / "plain.tif").spacing == (1.0, 1.0, 1.0)
    tifffile.imwrite(tmp_path / "cm.tif", image[0], resolution=(20_000, 10_000), resolutionunit="CENTIMETER")
    assert open_source(tmp_path / "cm.tif").spacing == (1.0, 0.5)


def test_tiff_hyperstacks_and_colours(tmp_path: Path) -> None:
    import tifffile

    image = np.random.default_rng(0).integers(0, 99, (2, 5, 3, 32, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "h.tif", image, imagej=True, metadata={"axes": "TZCYX"})
    frames = open_sources(tmp_path / "h.tif")
    assert [(f.channels, *f.shape) for f in frames] == [(3, 5, 32, 40)] * 2
    np.testing.assert_array_equal(frames[1].read((slice(None),) * 3), image[1].swapaxes(0, 1))
    assert len(open_sources(tmp_path / "h.tif", ndim=2)) == 10

    colours = np.random.default_rng(0).integers(0, 99, (32, 40, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", colours, photometric="rgb")
    np.testing.assert_array_equal(
        open_source(tmp_path / "rgb.tif").read((slice(None),) * 2), np.moveaxis(colours, -1, 0)
    )
    planar = np.moveaxis(colours, -1, 0).copy()
    tifffile.imwrite(tmp_path / "planar.tif", planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(open_source(tmp_path / "planar.tif").read((slice(None),) * 2), planar)
    tifffile.imwrite(tmp_path / "rgba.tif", np.zeros((32, 40, 4), np.uint8), photometric="rgb")
    assert open_source(tmp_path / "rgba.tif").channels == 3


def test_a_stack_that_imagej_called_channels_can_be_a_volume(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "c.tif", np.zeros((5, 32, 40), np.uint16), imagej=True)  # no axes: CYX
    assert open_source(tmp_path / "c.tif").channels == 5
    source = open_source(tmp_path / "c.tif", ndim=3)
    assert (source.channels, *source.shape) == (1, 5, 32, 40)
    tifffile.imwrite(
        tmp_path / "t.tif", np.zeros((5, 32, 40), np.uint16), imagej=True, metadata={"axes": "TYX"}
    )
    assert len(open_sources(tmp_path / "t.tif")) == 5
    assert open_source(tmp_path / "t.tif", ndim=3).shape == (5, 32, 40)
    # As napari saves three planes: tifffile takes them for colours.
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((3, 32, 40), np.float32), photometric="rgb")
    assert open_source(tmp_path / "s.tif").channels == 3
    assert open_source(tmp_path / "s.tif", ndim=3).shape == (3, 32, 40)
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((32, 40, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match="was given where a volume is needed"):
        open_source(tmp_path / "rgb.tif", ndim=3)


def test_pages_without_metadata_are_a_volume(tmp_path: Path) -> None:
    import tifffile

    image = np.random.default_rng(0).integers(0, 99, (5, 32, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", image, metadata=None, compression="zlib")
    source = open_source(tmp_path / "p.tif")
    np.testing.assert_array_equal(source.read((slice(None),) * 3)[0], image)
    assert len(open_sources(tmp_path / "p.tif", ndim=2)) == 5
    assert open_source(tmp_path / "p.tif", channel_axis=0).channels == 5


def test_pyramids_in_a_tiff(tmp_path: Path) -> None:
    import tifffile

    image = np.random.default_rng(0).integers(0, 99, (64, 80), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as tif:
        tif.write(image, subifds=1)
        tif.write(image[::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(
        open_source(tmp_path / "pyramid.tif", level=1).read((slice(None),) * 2)[0], image[::2, ::2]
    )
    with pytest.raises(DataError, match="has 2"):
        open_source(tmp_path / "pyramid.tif", level=2)


def test_further_images_in_a_tiff_are_said(tmp_path: Path) -> None:
    import tifffile

    with tifffile.TiffWriter(tmp_path / "two.tif") as tif:
        tif.write(np.zeros((8, 9), np.uint8))
        tif.write(np.zeros((5, 6), np.uint16))
    source = open_source(tmp_path / "two.tif")
    assert source.shape == (8, 9) and "only the first of 2 images" in source.notes[0]


def test_levels_of_an_open_multiscale_layer() -> None:
    levels = [np.zeros((16, 16)), np.ones((8, 8))]
    assert open_source(levels, level=1).read((slice(0, 2), slice(0, 2))).tolist() == [[[1, 1], [1, 1]]]
    with pytest.raises(DataError, match="has 2"):
        open_source(levels, level=2)


def test_labels_are_read_like_their_image_whatever_their_metadata_says(tmp_path: Path) -> None:
    import tifffile

    image = open_sources(np.zeros((5, 32, 40), np.uint16))
    labels = np.random.default_rng(0).integers(0, 9, (5, 32, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", labels, imagej=True)  # ImageJ calls the planes channels
    opened = open_sources(tmp_path / "c.tif", labels=True, like=image)
    assert [(s.channels, *s.shape) for s in opened] == [(1, 5, 32, 40)]
    np.testing.assert_array_equal(opened[0].read((slice(None),) * 3)[0], labels)
    assert len(open_sources(labels, labels=True, like=open_sources(np.zeros((5, 32, 40)), ndim=2))) == 5
    vectors = open_sources(np.zeros((3, 5, 32, 40), np.float32), labels=True, like=image)
    assert [(s.channels, *s.shape) for s in vectors] == [(3, 5, 32, 40)]


def test_descriptions_are_checked() -> None:
    with pytest.raises(DataError, match="Did you mean 'memmap'"):
        open_source({"kind": "mmap", "path": "x"})
    with pytest.raises(DataError, match="'shap' is unknown in a memmap description"):
        open_source({"kind": "memmap", "path": "x", "shap": 3})
    with pytest.raises(DataError, match="needs the key 'path'"):
        open_source({"kind": "zarr"})


def test_a_description_says_axes_spacing_and_unit(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((40, 30, 5, 2), np.uint16))
    source = open_source(
        {"kind": "file", "path": str(path), "axes": "xyzc", "spacing": [3, 2, 1], "unit": "µm", "name": "a"}
    )
    assert (source.channels, *source.shape) == (2, 5, 30, 40)
    assert (source.spacing, source.unit, source.name) == ((3.0, 2.0, 1.0), "micrometer", "a")
