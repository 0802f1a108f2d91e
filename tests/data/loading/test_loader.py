from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_segtrain.config import DataError, DataFacts, ExperimentConfig
from napari_segtrain.data import loader as module
from napari_segtrain.data.augmentation import intensity_tensors
from napari_segtrain.data.live import labels_changed
from napari_segtrain.data.loader import STAND_IN, PatchLoader
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.records import Record, Region, Split
from napari_segtrain.targets import TargetDeriver, resolve_heads


class RawLabels:
    """Hands labels and masks on as they are, and remembers the threads that asked."""

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def __call__(self, labels, masks, spacing):
        self.threads.add(threading.current_thread().name)
        out = {name: values.reshape(1, *masks[name].shape).copy() for name, values in labels.items()}
        return out | {f"{name}_mask": mask[None] for name, mask in masks.items()}


def experiment(augmentation=False, targets=None, tr_config=None, **data):
    return ExperimentConfig.parse(
        {
            "tr_config": tr_config or {},
            "dataset_config": {
                "targets": targets or {"a": {"kind": "binary"}},
                "augmentation": {"enabled": augmentation, "flip": 0.5, "rotate": 1.0},
                **data,
            },
        }
    )


@pytest.fixture(scope="session")
def make(dataset, record, whole_region):
    """Return a function that makes a loader over records."""

    def build(
        *records, part="train", config=None, patch=(16, 16), batch=2, deriver=None, regions=None, **options
    ):
        regions = tuple(regions or (whole_region(r) for r in records))
        first = records[0]
        options.setdefault("facts", DataFacts(ndim=first.ndim, shape=first.shape, spacing=first.spacing))
        return PatchLoader(
            dataset(*records),
            Split(**{part: regions}),
            part,
            config or experiment(),
            patch,
            Normalisation(shift=(0.0,) * first.image.channels, scale=(1.0,) * first.image.channels),
            deriver or RawLabels(),
            batch,
            **options,
        )

    return build


@pytest.fixture
def numbered(record):
    """An image whose values are its coordinates, with the same numbers as labels."""
    values = np.arange(1, 40 * 50 + 1, dtype=np.int32).reshape(40, 50)
    return record("numbered", values.astype(np.float32), {"a": values})


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_batch_has_the_documented_keys_shapes_and_types(make, numbered):
    batch = next(iter(make(numbered, batch=3)))
    assert batch["image"].shape == (3, 1, 16, 16)
    assert batch["image"].dtype == torch.float32
    assert batch["a"].shape == batch["a_mask"].shape == (3, 1, 16, 16)
    assert batch["a_mask"].dtype == torch.bool
    assert torch.equal(batch["image"].int(), batch["a"]), "image and labels must come from one place"


@pytest.mark.parametrize("augmentation", [False, True])
@pytest.mark.parametrize("shape", [(40, 50), (12, 20, 18)])
def test_batches_are_the_same_for_any_number_of_workers(make, record, shape, augmentation):
    values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    rec = record("r", values.astype(np.float32), {"a": values})
    config = experiment(augmentation)
    deriver = RawLabels()
    every = []
    for workers in (0, 1, 3):
        loader = make(
            rec,
            config=config,
            patch=(8,) * len(shape),
            steps=9,
            num_workers=workers,
            augment=True,
            deriver=deriver,
        )
        loader.set_epoch(3)
        every.append(list(loader))
        loader.close()
    assert len(every[0]) == 9
    for other in every[1:]:
        assert all(same(a, b) for a, b in zip(every[0], other, strict=True))
    assert len(deriver.threads) >= 2, "some thread besides the main one must have prepared patches"
    assert not same(every[0][0], every[0][1])


def test_as_many_workers_as_asked_for_prepare_at_once(make, numbered):
    meeting = threading.Barrier(3)

    class Meet(RawLabels):
        """Goes on only once three threads are in it together."""

        def __call__(self, labels, masks, spacing):
            if threading.current_thread().name not in self.threads:
                meeting.wait(60)
            return super().__call__(labels, masks, spacing)

    deriver = Meet()
    loader = make(numbered, steps=9, num_workers=3, deriver=deriver)
    assert len(list(loader)) == 9
    assert len(deriver.threads) == 3
    loader.close()


def everything(make, *records, patch=(8, 8, 8), **options):
    """Return the batches of a loader that changes intensities for certain."""
    often = dict.fromkeys(("noise", "blur", "gamma", "contrast", "illumination", "missing_slices"), 0.7)
    config = experiment(True).with_overrides(
        {f"dataset_config.augmentation.{name}": value for name, value in often.items()}
    )
    loader = make(*records, config=config, patch=patch, steps=6, augment=True, **options)
    loader.set_epoch(2)
    batches = list(loader)
    assert same(loader.batch(5), batches[5])
    loader.close()
    return batches


def test_a_device_changes_intensities_as_the_threads_would(make, record, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 12, 20, 18)).astype(np.float32)
    labels = rng.integers(0, 2, (12, 20, 18)).astype(np.uint8)
    records = [record(name, image, {"a": labels}, channels=True) for name in ("even", "flat")]
    records[1].image.spacing = (4.0, 1.0, 1.0)
    by_threads = everything(make, *records)
    threads = set()
    plain = intensity_tensors.change_tensor

    def changed(frame, params, tensor):
        threads.add(threading.current_thread().name)
        return plain(frame, params, tensor)

    monkeypatch.setattr(intensity_tensors, "change_tensor", changed)
    on_device = {
        workers: everything(make, *records, num_workers=workers, device=lambda: torch.device("cpu"))
        for workers in (0, 2)
    }
    assert threads == {threading.current_thread().name}, "the device belongs to who takes the batch"
    assert all(same(a, b) for a, b in zip(on_device[0], on_device[2], strict=True))
    for one, other in zip(by_threads, on_device[0], strict=True):
        assert torch.allclose(one.pop("image"), other.pop("image"), rtol=0, atol=1e-4)
        assert same(one, other)


def test_where_a_device_has_no_room_the_processor_changes_intensities(make, record, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 12, 20, 18)).astype(np.float32)
    volume = record("v", image, {"a": rng.integers(0, 2, (12, 20, 18)).astype(np.uint8)}, channels=True)
    expected = everything(make, volume, device=lambda: torch.device("cpu"))
    real = torch.Tensor.to

    def full(self, *arguments, **named):
        if arguments[:1] == (torch.device("cuda"),):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, *arguments, **named)

    monkeypatch.setattr(torch.Tensor, "to", full)
    found = everything(make, volume, device=lambda: torch.device("cuda"))
    assert all(map(same, found, expected))


def test_planes_and_unchanged_patches_never_go_to_a_device(make, record, numbered):
    def nowhere():
        raise AssertionError("nobody should ask")

    plane = everything(make, numbered, patch=(16, 16))
    assert all(map(same, everything(make, numbered, patch=(16, 16), device=nowhere), plane))
    volume = record("v", np.ones((8, 8, 8), np.float32), {"a": np.ones((8, 8, 8), np.uint8)})
    assert list(make(volume, part="val", patch=(8, 8, 8), device=nowhere))


def test_epochs_and_seeds_differ_and_repeat(make, numbered):
    def first(epoch=0, seed=0):
        config = experiment().with_overrides({"tr_setup.seed": seed})
        loader = make(numbered, config=config, batch=8)
        loader.set_epoch(epoch)
        return next(iter(loader))

    assert same(first(1), first(1))
    assert not same(first(0), first(1))
    assert not same(first(0, seed=1), first(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_by_its_number_is_the_one_of_the_iteration(make, numbered, workers):
    loader = make(numbered, steps=4, num_workers=workers)
    batches = list(loader)
    assert [same(a, b) for a, b in zip(loader.batches(start=2), batches[2:], strict=True)] == [True, True]
    loader.close()
    assert same(loader.batch(2), batches[2])
    with pytest.raises(IndexError, match="0 to 3"):
        loader.batch(4)


def test_augmentation_keeps_image_and_labels_in_step(make, record):
    values = np.arange(1, 40 * 40 + 1, dtype=np.float32).reshape(40, 40)
    rec = record("r", values, {"a": values.astype(np.int32)})
    data = {"flip": 1.0, "rotate": 0.0, "scale": 0.0, "elastic": 0.0, "noise": 0.0, "blur": 0.0}
    data |= dict.fromkeys(("brightness", "contrast", "gamma", "low_resolution", "illumination"), 0.0)
    config = experiment().with_overrides({f"dataset_config.augmentation.{k}": v for k, v in data.items()})
    config = config.with_overrides({"dataset_config.augmentation.enabled": True})
    batch = next(iter(make(rec, config=config, augment=True, batch=8)))
    assert torch.equal(batch["image"].int(), batch["a"])
    assert bool((batch["a"][:, 0, 0, 0] > batch["a"][:, 0, 0, 1]).all()), "flipped for certain"
    plain = next(iter(make(rec, config=config, augment=False, batch=8)))
    assert bool((plain["a"][:, 0, 0, 0] < plain["a"][:, 0, 0, 1]).all())


def test_padding_is_reflected_image_and_never_labelled(make, record):
    values = np.arange(1, 10 * 12 + 1, dtype=np.int32).reshape(10, 12)
    rec = record("small", values.astype(np.float32), {"a": values}, {"a": np.ones((10, 12), np.uint8)})
    batch = make(rec, batch=1, part="val").batch(0)
    mask = batch["a_mask"][0, 0]
    assert mask.sum() == 120
    assert bool(mask[3:13, 2:14].all())
    assert torch.equal(batch["image"][0, 0, 3:13, 2:14].int(), torch.from_numpy(values))
    assert torch.equal(batch["image"][0, 0, 2], batch["image"][0, 0, 4])
    assert batch["a"][0, 0][~mask].abs().sum() == 0


def test_nothing_outside_the_region_is_seen_even_by_rotated_patches(make, record):
    image = np.full((64, 64), -1000, np.float32)
    image[:, :32] = np.random.default_rng(0).uniform(0, 1, (64, 32))
    rec = record("r", image, {"a": np.ones((64, 64), np.uint8)})
    config = experiment().with_overrides(
        {"dataset_config.augmentation.enabled": True, "dataset_config.augmentation.rotate": 1.0}
    )
    loader = make(
        rec, config=config, regions=[Region("r", (0, 0), (64, 32))], augment=True, batch=4, steps=20
    )
    assert min(float(batch["image"].min()) for batch in loader) > -50


def test_loss_masks_and_missing_labels_make_voxels_unlabelled(make, record):
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :8] = 255
    one = record("one", np.eye(32, dtype=np.float32), {"a": np.ones((32, 32), np.uint8)}, {"a": mask})
    two = record("two", np.eye(32, dtype=np.float32), {"b": np.ones((32, 32), np.uint8)})
    config = experiment(targets={"a": {"kind": "binary"}, "b": {"kind": "binary"}})
    batch = make(one, two, config=config, patch=(32, 32), part="val").batch(0)
    assert torch.equal(batch["a_mask"][0, 0], torch.from_numpy(mask > 0))
    assert not batch["b_mask"][0].any()
    assert not batch["a_mask"][1].any()
    assert batch["b_mask"][1].all()


def test_validation_shows_every_labelled_voxel_once_in_a_grid(make, numbered):
    loader = make(numbered, part="val", patch=(20, 25), batch=3)
    batches = list(loader)
    assert [len(b["image"]) for b in batches] == [3, 1]
    seen = np.sort(np.concatenate([b["a"].flatten() for b in batches]))
    np.testing.assert_array_equal(seen, np.arange(1, 2001))
    loader.set_epoch(5)
    assert same(next(iter(loader)), batches[0])


def test_unlabelled_places_are_not_validated_and_limits_of_training_do_not_count(make, record):
    labels = np.zeros((64, 64), np.uint8)
    labels[40, 40] = 1
    rec = record("r", labels.astype(np.float32), {"a": labels})
    config = experiment(targets={"a": {"kind": "binary", "unlabelled": 0}}, min_labeled_ratio=0.5)
    loader = make(rec, config=config, part="val")
    assert len(loader) == loader.samples == 1
    with pytest.raises(DataError, match="min_labeled_ratio"):
        make(rec, config=config)


@pytest.mark.parametrize(
    ("side", "part", "steps", "expected"),
    [
        (32, "train", None, 10),
        (200, "train", None, 144),
        (400, "train", None, 250),
        (32, "train", 3, 3),
        (200, "val", None, 43),
        (400, "val", None, 50),
        (200, "val", 7, 7),
        (32, "val", 7, 1),
    ],
)
def test_number_of_batches(make, record, side, part, steps, expected):
    labels = np.ones((side, side), np.uint8)
    rec = record("r", labels.astype(np.float32), {"a": labels})
    assert len(make(rec, part=part, steps=steps, batch=4)) == expected


def test_moved_patches_keep_the_share_of_labels_that_the_index_promises(make, record):
    labels = np.zeros((128, 128), np.uint8)
    labels[:, ::32] = labels[:, 1::32] = labels[:, 2::32] = 1
    rec = record("r", labels.astype(np.float32), {"a": labels})
    targets = {"a": {"kind": "binary", "unlabelled": 0}}
    config = experiment(targets=targets, min_labeled_ratio=0.15, min_bbox_percent=0.1)
    loader = make(rec, config=config, deriver=RawLabels(), steps=40)
    patches = torch.cat([b["a"] for b in loader])
    assert min(float(p.float().mean()) for p in patches) >= 0.15
    assert len({p.numpy().tobytes() for p in patches}) > 3, "patches are moved all the same"


@pytest.mark.parametrize("part", ["train", "val"])
def test_processes_share_an_epoch_without_overlap(make, record, part):
    values = np.arange(1, 48 * 80 + 1, dtype=np.int32).reshape(48, 80)
    rec = record("r", values.astype(np.float32), {"a": values})
    alone = list(make(rec, part=part, batch=4, steps=3))
    shared = [list(make(rec, part=part, batch=2, steps=3, rank=k, world_size=2)) for k in (0, 1)]
    assert [len(s) for s in shared] == [3, 3]
    for together, mine, theirs in zip(alone, *shared, strict=True):
        images = torch.cat([mine["image"], theirs["image"]])
        assert {i.numpy().tobytes() for i in images} == {i.numpy().tobytes() for i in together["image"]}


def test_where_the_grid_does_not_divide_a_process_gets_a_batch_that_counts_for_nothing(make, record):
    values = np.ones((16, 16 * 5), np.int32)
    rec = record("r", values.astype(np.float32), {"a": values})
    mine, theirs = (list(make(rec, part="val", batch=2, rank=k, world_size=2)) for k in (0, 1))
    assert [len(batch["image"]) for batch in mine] == [2, 1]
    assert [len(batch["image"]) for batch in theirs] == [2, 1]
    assert STAND_IN in theirs[1]
    assert not theirs[1]["a_mask"].any()
    assert all(STAND_IN not in batch and batch["a_mask"].any() for batch in (*mine, theirs[0]))


class Broken(RawLabels):
    def __call__(self, labels, masks, spacing):
        raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_name_record_and_position(make, numbered, record, workers):
    loader = make(numbered, num_workers=workers, deriver=Broken())
    with pytest.raises(ZeroDivisionError) as caught:
        list(loader)
    assert "'numbered' at [" in caught.value.__notes__[0]
    loader.close()
    image = np.ones((32, 32), np.float32)
    image[20, 21] = np.nan
    rec = record("holey", image, {"a": np.ones((32, 32), np.uint8)})
    loader = make(rec, num_workers=workers)
    with pytest.raises(DataError, match=r"patch of 'holey' at \[.*\]: image 'holey' has 1 value"):
        list(loader)
    loader.close()


def test_a_file_that_vanishes_is_reported_with_its_patch(make, numbered):
    loader = make(numbered)

    def gone(region):
        raise OSError("stale file handle")

    numbered.image.read = gone
    with pytest.raises(DataError, match=r"'numbered' at .*stale file handle"):
        next(iter(loader))


def test_a_bounded_number_of_batches_is_prepared_ahead_and_close_ends_the_threads(make, numbered):
    loader = make(numbered, num_workers=2, steps=100)
    made = []
    original, done = loader._make, threading.Event()

    def counting(epoch, step):
        made.append(step)
        if len(made) >= 5:
            done.set()
        return original(epoch, step)

    loader._make = counting
    stream = iter(loader)
    assert done.wait(120)
    next(stream)
    loader.close()
    assert 5 <= len(made) <= 6
    assert not any(t.name.startswith("segtrain-patches") for t in threading.enumerate())
    with pytest.raises(StopIteration):
        next(stream)
    assert len(list(loader)) == 100, "a closed loader can be used again"
    loader.close()


def test_an_iteration_that_is_left_early_does_not_prepare_the_rest(make, numbered):
    loader = make(numbered, num_workers=1, steps=200)
    for _ in loader:
        break
    again = list(loader)
    assert len(again) == 200
    loader.close()


def test_workers_are_chosen_from_the_machine_when_not_given(make, numbered, monkeypatch):
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(2)), raising=False)
    assert make(numbered, num_workers=None).num_workers == 1
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert make(numbered, num_workers=None).num_workers == 8


def test_strokes_reach_a_running_loader(make, dataset, record, whole_region):
    labels = np.zeros((64, 64), np.uint8)
    labels[0, 0] = 1
    rec = record("r", labels.astype(np.float32), {"a": labels})
    config = experiment(targets={"a": {"kind": "binary", "unlabelled": 0, "values": [2]}})
    loader = make(rec, config=config, steps=30)
    assert not any((b["a"] == 2).any() for b in loader)
    rec.labels["a"].array[0, 50:54, 50:54] = 2
    assert labels_changed(dataset(rec), [loader], "r", "a", [[50, 54], [50, 54]])
    assert any((b["a"] == 2).any() for b in loader)
    with pytest.raises(DataError, match=r"no image 'R'.*Did you mean 'r'"):
        labels_changed(dataset(rec), [loader], "R", "a", [[0, 1], [0, 1]])
    with pytest.raises(DataError, match="another shape"):
        labels_changed(dataset(rec), [loader], "r", "a", [[60, 70], [0, 1]])


def test_a_class_painted_while_training_is_seen_as_often_as_the_others(make, dataset, record):
    labels = np.zeros((96, 96), np.uint8)
    labels[:60] = 1
    rec = record("r", labels.astype(np.float32), {"a": labels})
    targets = {"a": {"kind": "classes"}}

    def share_of_new(loader):
        loader.set_epoch(loader.epoch + 1)
        return np.mean([(sample == 2).any().item() for batch in loader for sample in batch["a"]])

    loaders = [
        make(
            rec, config=experiment(targets=targets, foreground_oversampling=1.0, balance_classes=b), steps=100
        )
        for b in (False, True)
    ]
    assert [share_of_new(loader) for loader in loaders] == [0, 0]
    rec.labels["a"].array[0, 90:93, 90:93] = 2
    assert labels_changed(dataset(rec), loaders, "r", "a", [[90, 93], [90, 93]])
    plain, balanced = map(share_of_new, loaders)
    assert plain < 0.1
    assert balanced == pytest.approx(0.5, abs=0.1)


def test_loss_on_labels_only_draws_and_shows_nothing_else(make, record):
    labels = np.zeros((96, 96), np.uint8)
    labels[10:20, 10:80] = 1
    rec = record("r", labels.astype(np.float32), {"a": labels})
    config = experiment(tr_config={"loss_on_label_only": True}, foreground_oversampling=0.0)
    facts = DataFacts(ndim=2, shape=(96, 96), spacing=(1, 1))
    deriver = TargetDeriver(config, resolve_heads(config, facts), facts)
    samples = [s for batch in make(rec, config=config, deriver=deriver, steps=20) for s in _samples(batch)]
    assert len(samples) == 40
    for image, target, mask in samples:
        assert mask.any() and torch.equal(mask[0], image[0] == 1) and bool((target[mask] == 1).all())


def _samples(batch):
    return zip(batch["image"], batch["a"], batch["a_mask"], strict=True)


def test_validation_goes_on_when_labels_appear_or_vanish(make, record):
    labels = np.zeros((32, 64), np.uint8)
    labels[0, ::8] = 1
    rec = record("r", labels.astype(np.float32), {"a": labels})
    loader = make(
        rec, part="val", config=experiment(targets={"a": {"kind": "binary", "unlabelled": 0}}), batch=1
    )
    assert len(loader) == 4
    rec.labels["a"].array[:] = 1
    assert loader.labels_changed("r", "a", [(0, 32), (0, 64)])
    seen = [batch["image"].numpy().tobytes() for batch in loader]
    assert len(seen) == 4
    assert len(loader.index) == 8
    rec.labels["a"].array[0, :, 16:] = 0
    rec.labels["a"].array[0, 16:] = 0
    loader.labels_changed("r", "a", [(0, 32), (0, 64)])
    assert len(loader.index) == 1
    assert len(list(loader)) == 4


def test_strokes_in_a_stack_reach_its_planes(make, dataset, record):
    planes = []
    for k in range(3):
        labels = np.zeros((32, 32), np.uint8)
        labels[0, 0] = 1
        plane = record(f"s[{k}]", np.zeros((32, 32), np.float32), {"a": labels})
        plane.image.position = (k,)
        planes.append(Record(plane.id, plane.image, plane.labels, plane.masks, group="s"))
    targets = {"a": {"kind": "binary", "unlabelled": 0}}
    loader = make(*planes, config=experiment(targets=targets))
    assert len(loader.index) == 3
    planes[1].labels["a"].array[0, 30, 30] = planes[2].labels["a"].array[0, 30, 30] = 1
    assert labels_changed(dataset(*planes), [loader], "s", "a", [[1, 2], [28, 32], [28, 32]])
    assert len(loader.index) == 4
    assert not labels_changed(dataset(*planes), [loader], "s", "a", [[3, 4], [28, 32], [28, 32]])
