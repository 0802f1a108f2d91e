import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segtrain import workflow
from napari_segtrain.config import ConfigError, DataError
from napari_segtrain.data import PatchDataset, PatchIndex, make_split, open_dataset
from napari_segtrain.data.index_rules import IndexRules
from napari_segtrain.data.loader import augmenters
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.patches import PatchSpec
from napari_segtrain.data.records import Region
from napari_segtrain.runs import PreviewHint
from napari_segtrain.runs.scratch import open_memmap

BUSY = {
    f"dataset_config.augmentation.{name}": 1.0
    for name in ("rotate", "elastic", "shear", "noise", "gamma", "illumination")
}


def layers(image, labels, **extra):
    return {"layers": [{"id": "im", "image": image, "labels": {"cells": labels}, **extra}]}


@pytest.fixture
def data(disc_image):
    def make(shape=(96, 80), **extra):
        image, labels = disc_image(shape, 6, 0)
        return layers(image, (labels > 0).astype(np.uint8), **extra)

    return make


class _Here:
    """A sampler that knows one place and draws nothing."""

    def __init__(self, spec):
        self._spec = spec

    def draw(self, epoch, number, random):
        return self._spec


@pytest.mark.parametrize("ndim", [2, 3])
def test_patches_are_those_that_training_gets(tiny_experiment, data, ndim):
    """Bit for bit the samples of the training's own data set, at the same place with the same seed."""
    config = tiny_experiment(ndim=ndim, **BUSY)
    given = data((40, 44, 48)[:ndim], spacing=(2.0, 1.0, 1.0)[-ndim:])
    preview = workflow.preview_augmentation(config, given, number=3, seed=5)
    dataset = open_dataset(given, config.dataset_config)
    whole = Region("im", (0,) * ndim, dataset.records["im"].shape)
    spec = PatchSpec(whole, preview.start, (32,) * ndim, preview.start)
    split = make_split(dataset, config.tr_setup.train_split, config.tr_setup.seed, (32,) * ndim)
    fitted = Normalisation.fit(config.dataset_config.normalisation, dataset, split)
    training = PatchDataset(
        dataset,
        _Here(spec),
        IndexRules(config.dataset_config.targets),
        fitted,
        lambda labels, masks, spacing: {"labels": np.where(masks["cells"], labels["cells"], 0)},
        5,
        augmenters(config, (32,) * ndim),
    )
    assert len(preview.patches) == 4
    for number, patch in enumerate(preview.patches[1:]):
        sample = training[0, number]
        np.testing.assert_array_equal(patch.image, sample["image"])
        np.testing.assert_array_equal(patch.labels["cells"], sample["labels"])
        words = "; ".join(patch.words)
        for word in ("shear", "deform", "noise", "gamma", "light"):
            assert word in words
    here = tuple(slice(a, b) for a, b in zip(preview.start, preview.stop, strict=True))
    original = preview.patches[0]
    pixels = given["layers"][0]["image"][here]
    np.testing.assert_array_equal(original.image, fitted.apply(pixels[np.newaxis]))
    np.testing.assert_array_equal(original.labels["cells"], given["layers"][0]["labels"]["cells"][here])
    assert original.masks["cells"].all()
    assert original.words == ()


def test_another_seed_draws_anew_and_the_same_repeats(tiny_experiment, data):
    config, given = tiny_experiment(**BUSY), data()

    def images(seed):
        patches = workflow.preview_augmentation(config, given, number=2, seed=seed).patches
        return np.stack([patch.image for patch in patches])

    np.testing.assert_array_equal(images(1), images(1))
    np.testing.assert_array_equal(images(1)[0], images(2)[0])
    assert not np.array_equal(images(1)[1:], images(2)[1:])
    np.testing.assert_array_equal(images(None), images(config.tr_setup.seed))


def test_the_labelled_patch_nearest_to_what_is_looked_at_is_taken(tiny_experiment, disc_image):
    image, _ = disc_image((96, 160), 6, 0)
    labels = np.zeros(image.shape, np.uint8)
    labels[10:20, 8:30] = 1
    labels[70:90, 120:150] = 2
    config = tiny_experiment(**{"dataset_config.targets.cells.unlabelled": 0})
    for start, stop, value in (((0, 0), (20, 20), 1), ((60, 100), (96, 110), 2)):
        hint = PreviewHint(record="im", start=start, stop=stop)
        preview = workflow.preview_augmentation(config, layers(image, labels), number=1, hint=hint)
        assert value in preview.patches[0].labels["cells"]


def test_labels_far_from_what_is_looked_at_are_found_too(tiny_experiment, disc_image, monkeypatch):
    image, _ = disc_image((96, 300), 6, 0)
    labels = np.zeros(image.shape, np.uint8)
    labels[40:50, 280:290] = 1
    labels[40:50, 130:140] = 2
    config = tiny_experiment(**{"dataset_config.targets.cells.unlabelled": 0}, **BUSY)
    counted = []
    build = PatchIndex.build.__func__

    def note(cls, dataset, regions, *rest, **options):
        counted.append((regions[0].start, regions[0].stop))
        return build(cls, dataset, regions, *rest, **options)

    monkeypatch.setattr(PatchIndex, "build", classmethod(note))
    near, far = (
        workflow.preview_augmentation(
            config,
            layers(image, labels),
            hint=PreviewHint(record="im", start=(32, left), stop=(64, left + 32)),
            number=2,
        )
        for left in (112, 0)
    )
    # Near labels need a look at two patches around; without any there, all of the image is gone through.
    assert counted == [((0, 64), (96, 192)), ((0, 0), (96, 80)), ((0, 0), (96, 300))]
    for preview in (near, far):
        assert preview.start[1] <= 130 and preview.stop[1] >= 140
        # No border of what was searched is in sight: only the image's own would be masked.
        assert all(patch.masks["cells"].mean() > 0.9 for patch in preview.patches)


def test_an_image_smaller_than_the_patch_lies_in_its_middle(tiny_experiment, data):
    preview = workflow.preview_augmentation(tiny_experiment(), data((24, 40)), number=1)
    assert (preview.start[0], preview.stop[0]) == (-4, 28)
    mask = preview.patches[0].masks["cells"]
    assert not mask[:4].any()
    assert mask[4:28].all()


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        ({}, {"number": 0}, "0 augmented patches were asked for; 1 to 64"),
        ({}, {"number": 65}, "1 to 64 can be shown"),
        ({}, {"seed": -1}, "the seed -1 is below 0"),
        ({}, {"image": "in"}, "'in' is not an image of this data. Did you mean 'im'"),
        ({"dataset_config.augmentation.enabled": False}, {}, "augmentation is off"),
        ({"dataset_config.augmentation.strength": 0}, {}, "a strength above 0"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(tiny_experiment, data, overrides, options, message):
    with pytest.raises(ConfigError, match=message):
        workflow.preview_augmentation(tiny_experiment(**overrides), data(), **options)


def test_without_anything_labelled_there_is_nothing_to_show(tiny_experiment, disc_image):
    image, labels = disc_image((64, 64), 6, 0)
    config = tiny_experiment(**{"dataset_config.targets.cells.unlabelled": 0})
    with pytest.raises(DataError, match="label"):
        workflow.preview_augmentation(config, layers(image, np.zeros_like(labels, np.uint8)))
    with pytest.raises(DataError, match="no image has labels of a target"):
        workflow.preview_augmentation(config, {"layers": [{"id": "im", "image": image, "labels": {}}]})


@pytest.mark.parametrize("ndim", [2, 3])
def test_files_hold_the_patches_and_a_picture(tiny_experiment, data, tmp_path, ndim):
    spacing = (2.0, 1.0, 1.0)[-ndim:]
    preview = workflow.preview_augmentation(
        tiny_experiment(ndim=ndim), data((40, 44, 48)[:ndim], spacing=spacing), number=4
    )
    paths = workflow.write_augmentation_preview(preview, tmp_path / "out")
    assert paths[0].name == "im_augmentation.png"
    assert len(paths) == 1 + 5 * 3
    for number, patch in enumerate(preview.patches):
        begin = tmp_path / "out" / (f"im_augmented{number}" if number else "im_original")
        with tifffile.TiffFile(f"{begin}_image.tif") as file:
            assert 'PhysicalSizeX="1.0"' in file.ome_metadata
            np.testing.assert_array_equal(file.asarray(), patch.image[0])
        labels = tifffile.imread(f"{begin}_cells.tif")
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, patch.labels["cells"])
        mask = tifffile.imread(f"{begin}_cells_mask.tif")
        np.testing.assert_array_equal(mask.astype(bool), patch.masks["cells"])
    picture = np.asarray(Image.open(paths[0]))
    # Grey everywhere but at the outlines, of which every one of the five panels has some.
    coloured = np.ptp(picture.astype(int), axis=2) > 60
    rows, columns = np.array_split(coloured, 2), 3
    cells = [cell for row in rows for cell in np.array_split(row, columns, axis=1)]
    assert [bool(cell.any()) for cell in cells] == [True] * 5 + [False]


def test_what_is_shared_is_what_was_made(tiny_experiment, data, tmp_path):
    preview = workflow.preview_augmentation(tiny_experiment(**BUSY), data(), number=2)
    event = workflow.share_augmentation_preview(preview, tmp_path / "shared")
    images, labels = open_memmap(event.image), open_memmap(event.labels["cells"])
    assert images.shape == (3, 1, 32, 32)
    for number, patch in enumerate(preview.patches):
        np.testing.assert_array_equal(images[number], patch.image)
        np.testing.assert_array_equal(labels[number], patch.labels["cells"])
        assert event.words[number] == patch.words
    assert (event.start, event.stop) == (preview.start, preview.stop)
