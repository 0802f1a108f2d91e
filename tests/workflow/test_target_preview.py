import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segtrain import workflow
from napari_segtrain.config import ConfigError, DataError
from napari_segtrain.runs import PreviewHint
from napari_segtrain.workflow import target_preview
from napari_segtrain.workflow.sheet import scaled

TASKS = {
    name: {"type": name, "source_target": "cells"}
    for name in (
        "distance_transform",
        "surface_normals",
        "structure_tensor",
        "inplane_direction",
        "nearest_component",
        "flows",
    )
}


@pytest.fixture
def config(tiny_experiment):
    return tiny_experiment(auxiliary_tasks=TASKS)


def layers(image, labels, **extra):
    return {"layers": [{"id": "im", "image": image, "labels": {"cells": labels}, **extra}]}


def test_the_most_labelled_patch_of_any_image_is_taken(config, disc_folder):
    folder = disc_folder(count=2)
    for number in range(2):
        path = folder / "labels" / f"im{number}_cells.tif"
        labels = tifffile.imread(path)
        sparse = np.full_like(labels, 9)
        if number == 1:
            sparse[32:64, 40:72] = labels[32:64, 40:72]
        else:
            sparse[:20, :20] = labels[:20, :20]
        tifffile.imwrite(path, sparse)
    config = config.with_overrides({"dataset_config.targets.cells.unlabelled": 9})
    preview = workflow.preview_targets(config, folder)
    assert preview.region.record == "im1"
    assert (preview.region.start, preview.region.stop) == ((32, 40), (64, 72))
    assert preview.targets[0].valid.all()
    assert workflow.preview_targets(config, folder, image="im0").region.record == "im0"


def test_of_equally_labelled_patches_one_with_foreground_is_taken(config):
    labels = np.zeros((64, 96), np.uint8)
    labels[40:60, 70:90] = 1
    image = np.zeros(labels.shape, np.uint8)
    region = workflow.preview_targets(config, layers(image, labels)).region
    assert region.shape == (32, 32)
    assert labels[region.slices].sum() >= 300


def test_targets_are_those_that_training_sees(config, disc_image):
    image, labels = disc_image((96, 80), 6, 0)
    data = layers(image, (labels > 0).astype(np.uint8), spacing=(2.0, 1.0))
    preview = workflow.preview_targets(config, data, region=[(8, 80), (0, 64)])
    by_name = {target.head.name: target for target in preview.targets}
    assert list(by_name) == ["cells", *TASKS]
    np.testing.assert_array_equal(by_name["cells"].values[0], labels[8:80, :64] > 0)
    np.testing.assert_array_equal(preview.image[0], image[8:80, :64])
    assert preview.spacing == (2.0, 1.0)
    for target in preview.targets:
        assert target.values.shape == (target.head.out_channels, 72, 64)
        assert target.valid.shape == (72, 64)
        assert target.valid.any()
    # The cut-off follows from the patch, 32 voxels of 1, and not from the region.
    assert np.abs(by_name["distance_transform"].values).max() == pytest.approx(8.0)


def test_without_labels_there_is_nothing_to_show(config, disc_folder):
    folder = disc_folder(count=1)
    (folder / "labels" / "im0_cells.tif").unlink()
    with pytest.raises(DataError, match="no image has labels of a target"):
        workflow.preview_targets(config, folder)


def test_a_volume_without_auxiliary_tasks_shows_the_parts_of_its_instances(tiny_experiment, disc_image):
    image, labels = disc_image((40, 40, 40), 4, 1)
    config = tiny_experiment(ndim=3, **{"dataset_config.targets.cells.kind": "instances"})
    preview = workflow.preview_targets(config, layers(image, labels))
    assert [target.head.name for target in preview.targets] == ["cells", "cells_boundary", "cells_distance"]
    assert preview.region.shape == (32, 32, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "in0"}, "'in0' is not an image of this data. Did you mean 'im0'?"),
        ({"region": [(0, 8), (0, 8)]}, "in one of 2 images: say which. There are im0, im1"),
        ({"image": "im0", "region": [(0, 8)]}, "1 axes, but the image im0 of 64×72 voxels has 2"),
        ({"image": "im0", "region": [(0, 65), (0, 8)]}, "0:65 does not lie in the image im0 of 64×72"),
        ({"image": "im0", "region": [(8, 8), (0, 8)]}, "0 ≤ start < stop ≤ 64"),
    ],
)
def test_a_region_that_is_not_there_is_refused_in_words(config, disc_folder, options, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        workflow.preview_targets(config, disc_folder(count=2), **options)


def test_a_region_that_is_too_large_is_refused(config, disc_folder, monkeypatch):
    monkeypatch.setattr(target_preview, "MOST_VOXELS", 1000)
    with pytest.raises(ConfigError, match="choose a smaller one"):
        workflow.preview_targets(config, disc_folder(count=1), region=[(0, 64), (0, 64)])


def test_what_is_looked_at_grows_to_a_patch_and_stays_in_the_image(config, disc_image):
    image, labels = disc_image((96, 80), 6, 0)
    data = layers(image, (labels > 0).astype(np.uint8))
    hint = PreviewHint(record="im", start=(90, 2), stop=(94, 60))
    region = workflow.preview_targets(config, data, hint=hint).region
    assert (region.start, region.stop) == ((64, 2), (96, 60))
    with pytest.raises(DataError, match="'other' has no labels"):
        workflow.preview_targets(config, data, hint=PreviewHint(record="other", start=(0, 0), stop=(1, 1)))


def test_what_is_looked_at_is_cut_down_around_its_middle(config, disc_image, monkeypatch):
    monkeypatch.setattr(target_preview, "MOST_VOXELS", 40 * 40)
    image, labels = disc_image((96, 160), 6, 0)
    data = layers(image, (labels > 0).astype(np.uint8))
    hint = PreviewHint(record="im", start=(0, 0), stop=(96, 160))
    region = workflow.preview_targets(config, data, hint=hint).region
    assert 400 <= np.prod(region.shape) <= 1600
    centre = [(a + b) / 2 for a, b in zip(region.start, region.stop, strict=True)]
    np.testing.assert_allclose(centre, (48, 80), atol=1)


def test_a_plane_of_a_stack_is_looked_at(tiny_experiment, disc_image):
    planes = [disc_image((48, 48), 4, seed) for seed in range(3)]
    stack, labels = (np.stack(parts) for parts in zip(*planes, strict=True))
    config = tiny_experiment(**{"dataset_config.ndim": 2})
    hint = PreviewHint(record="im", start=(2, 4, 4), stop=(3, 44, 44))
    preview = workflow.preview_targets(config, layers(stack, (labels > 0).astype(np.uint8)), hint=hint)
    assert preview.region.record == "im[2]"
    np.testing.assert_array_equal(preview.targets[0].values[0], labels[2, 4:44, 4:44] > 0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_files_hold_targets_masks_and_a_picture(tiny_experiment, disc_image, tmp_path, ndim):
    image, labels = disc_image((40, 44, 48)[:ndim], 4, 1)
    config = tiny_experiment(ndim=ndim, auxiliary_tasks=TASKS)
    data = layers(image, (labels > 0).astype(np.uint8), spacing=(2.0, 1.0, 1.0)[-ndim:])
    preview = workflow.preview_targets(config, data)
    paths = workflow.write_target_preview(preview, tmp_path / "out")
    names = [path.name for path in paths]
    assert names[0] == "im_overview.png"
    assert len(names) == 2 + 2 * (1 + len(TASKS))
    for target in preview.targets:
        name = f"im_{target.head.name}"
        with tifffile.TiffFile(tmp_path / "out" / f"{name}.tif") as file:
            assert file.series[0].axes == ("C" if target.head.out_channels > 1 else "") + "ZYX"[-ndim:]
            assert 'PhysicalSizeX="1.0"' in file.ome_metadata
            np.testing.assert_array_equal(file.asarray().reshape(target.values.shape), target.values)
        mask = tifffile.imread(tmp_path / "out" / f"{name}_mask.tif")
        np.testing.assert_array_equal(mask.astype(bool), target.valid)
    picture = np.asarray(Image.open(paths[0]))
    # Eight panels, each with something drawn on it.
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 300


def test_panels_show_voxels_as_high_as_they_are(tiny_experiment, disc_image):
    image, labels = disc_image((40, 48), 4, 1)
    data = layers(image, (labels > 0).astype(np.uint8), spacing=(4.0, 1.0))
    preview = workflow.preview_targets(tiny_experiment(), data)
    picture = scaled(Image.fromarray(np.zeros((32, 32, 3), np.uint8)), preview.spacing)
    assert picture.height == 4 * picture.width
