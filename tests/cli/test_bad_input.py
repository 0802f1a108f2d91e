"""What cannot work is one clear message and exit code 2, before anything is trained."""

import json

import numpy as np
import pytest
import tifffile
import zarr

CELLS = "dataset_config.targets.cells"
DISTANCE = {"type": "distance_transform", "source_target": "cells", "losses": ["CrossEntropyLoss"]}


def image(data, number=0):
    return data / "images" / f"im{number}.tif"


def labels(data, number=0):
    return data / "labels" / f"im{number}_cells.tif"


def rewrite(path, change):
    tifffile.imwrite(path, change(tifffile.imread(path)))


def each(change):
    """Return a function that changes the labels of every image."""

    def apply(data):
        for path in (data / "labels").iterdir():
            rewrite(path, change)

    return apply


def truncate(path):
    path.write_bytes(path.read_bytes()[:700])


def damage_pixels(path):
    tifffile.imwrite(path, tifffile.imread(path), compression="zlib")
    with tifffile.TiffFile(path) as tif:
        start, size = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + size] = bytes(size)
    path.write_bytes(content)


def to_zarr(path, damage):
    """Replace a TIFF by a Zarr store, and damage that."""
    store = path.with_suffix(".zarr")
    zarr.create_array(str(store), data=tifffile.imread(path), chunks=(32, 32))
    path.unlink()
    damage(store)


def cut_a_chunk(store):
    chunk = next(p for p in store.rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:5])


def split(content):
    return lambda data: (data / "split.json").write_text(
        content if isinstance(content, str) else json.dumps(content)
    )


DATA_FAULTS = {
    "labels of another shape": (
        lambda d: tifffile.imwrite(labels(d), np.ones((60, 72), np.uint8)),
        ["image 'im0' has the shape (64, 72), but its labels 'cells' (60, 72)", "voxel by voxel", "export"],
    ),
    "no labels": (
        lambda d: [p.unlink() for p in (d / "labels").iterdir()],
        ["no labels were found. Paint some"],
    ),
    "labels under wrong names": (
        lambda d: [p.rename(p.with_name(f"painted_{p.name}")) for p in (d / "labels").iterdir()],
        ["no labels were found", "painted_im0_cells.tif", "belong to no image"],
    ),
    "nothing is painted": (each(np.zeros_like), ["the labels hold background only. Paint foreground"]),
    "NaN": (
        lambda d: rewrite(image(d), lambda a: np.where(a > 100, np.nan, a).astype(np.float32)),
        ["image 'im0' holds values that are not numbers (NaN", "Replace them"],
    ),
    "infinite in 32 bits": (
        lambda d: rewrite(image(d), lambda a: a.astype(np.float64) * 1e300),
        ["image 'im0' holds values that are not numbers", "too large for 32 bits"],
    ),
    "constant image": (
        lambda d: rewrite(image(d), lambda a: np.full_like(a, 3)),
        ["image 'im0' is constant (every voxel is 3)", "Take it out"],
    ),
    "a single pixel": (
        lambda d: [tifffile.imwrite(f(d), np.ones((1, 1), np.uint8)) for f in (image, labels)],
        ["image 'im0' is constant"],
    ),
    "object numbers beyond 2^31": (
        lambda d: rewrite(labels(d), lambda a: a.astype(np.uint64) * 3_000_000_000),
        ["hold the value 3000000000; the largest allowed is 2147483647", "relabel_sequential"],
    ),
    "negative labels": (
        lambda d: rewrite(labels(d), lambda a: a.astype(np.int16) - 1),
        ["hold the value -1, which is neither background nor an object", f"{CELLS}.unlabelled"],
    ),
    "labels that are NaN": (
        lambda d: rewrite(labels(d), lambda a: np.where(a, np.nan, 0).astype(np.float32)),
        ["im0: labels 'cells' hold values that are not numbers"],
    ),
    "complex labels": (
        lambda d: rewrite(labels(d), lambda a: a.astype(np.complex64)),
        ["voxels of type complex64 cannot be used"],
    ),
    "truncated TIFF": (
        lambda d: truncate(image(d)),
        ["im0.tif: the TIFF file is truncated", "Copy or export it again"],
    ),
    "truncated labels": (lambda d: truncate(labels(d)), ["im0_cells.tif: the TIFF file is truncated"]),
    "no TIFF at all": (lambda d: image(d).write_bytes(b"garbage"), ["im0.tif: not a readable TIFF file"]),
    "an empty file": (lambda d: image(d).write_bytes(b""), ["im0.tif: not a readable TIFF file"]),
    "damaged pixels": (
        lambda d: damage_pixels(image(d)),
        ["im0.tif: cannot be read at", "damaged or incomplete"],
    ),
    "truncated Zarr": (
        lambda d: to_zarr(image(d), cut_a_chunk),
        ["im0.zarr: cannot be read at", "damaged or incomplete"],
    ),
    "truncated Zarr labels": (
        lambda d: to_zarr(labels(d), cut_a_chunk),
        ["im0_cells.zarr: cannot be read at"],
    ),
    "broken Zarr metadata": (
        lambda d: to_zarr(image(d), lambda store: (store / "zarr.json").write_text("{")),
        ["im0.zarr: not a readable Zarr array or image"],
    ),
    "a Zarr group without arrays": (
        lambda d: to_zarr(image(d), lambda store: zarr.open_group(str(store), mode="w")),
        ["a Zarr group without image metadata, with nothing in it"],
    ),
    "channels differ": (
        lambda d: tifffile.imwrite(
            image(d), np.random.default_rng(0).integers(0, 255, (64, 72, 3)).astype(np.uint8)
        ),
        ["image 'im0' has 3 channel(s), the others have 1"],
    ),
    "planes and a volume": (
        lambda d: [
            tifffile.imwrite(
                f(d, 7), np.arange(8 * 40 * 48, dtype=np.uint16).reshape(8, 40, 48), metadata={"axes": "ZYX"}
            )
            for f in (image, labels)
        ],
        ["is a plane (64, 72) and 'im7' a volume (8, 40, 48)"],
    ),
    "too many axes": (
        lambda d: tifffile.imwrite(image(d), np.zeros((2, 3, 4, 2, 8, 9), np.uint8)),
        ["has too many axes"],
    ),
    "an unknown image in the split": (
        split({"train": ["im0", "imX"], "val": ["im1"]}),
        ["split.json: train names the image 'imX', which is not there. Did you mean"],
    ),
    "a region outside the image": (
        split({"train": [{"image": "im0", "region": [[0, 64], [0, 900]]}], "val": ["im1"]}),
        ["train asks for the region [[0, 64], [0, 900]] of 'im0', which does not lie in its shape"],
    ),
    "nothing to train on in the split": (
        split({"train": [], "val": ["im0"]}),
        ["split.json: no image is in train"],
    ),
    "an image in two parts": (
        split({"train": ["im0"], "val": ["im0"]}),
        ["train and val both claim voxels of 'im0'"],
    ),
    "a split that is no JSON": (split("{"), ["split.json: not readable as JSON", "Correct or remove it"]),
}


@pytest.mark.parametrize(("spoil", "words"), DATA_FAULTS.values(), ids=DATA_FAULTS)
def test_faults_of_the_data(run, small, disc_folder, tmp_path, spoil, words):
    data = disc_folder()
    spoil(data)
    code, out, err = run("check", "-i", data)
    assert code == 2
    for word in words:
        assert word in out
    for command in (["train", "-o", tmp_path / "P"], ["plan"]):
        code, out, err = run(*command, "-i", data, "--config-path", small)
        assert code == 2
        assert err.startswith("Error: ")
        assert "\nError: " not in err
        assert "Traceback" not in err
        for word in words:
            assert word in err
    assert not list(tmp_path.glob("P/runs/[a-z]*"))


def test_the_only_image_cannot_be_read(run, small, disc_folder, tmp_path):
    data = disc_folder(count=1)
    truncate(image(data))
    for command in (["train", "-o", tmp_path / "P"], ["plan"], ["check"]):
        code, out, err = run(*command, "-i", data, "--config-path", small)
        assert (code, "Traceback" in err) == (2, False)
        assert "im0.tif: the TIFF file is truncated" in out + err


def test_all_faults_of_data_and_experiment_are_in_one_list(run, small, disc_folder, tmp_path):
    data = disc_folder()
    tifffile.imwrite(labels(data, 0), np.ones((60, 72), np.uint8))
    rewrite(image(data, 1), lambda a: np.full_like(a, 3))
    truncate(labels(data, 2))
    settings = tmp_path / "e.yaml"
    targets = {"cells": {"kind": "binary", "losses": ["CosineSimilarityLoss"]}}
    values = {"auxiliary_tasks": {"d": DISTANCE}, "tr_config": {"monitor": "val_cell_dice"}}
    settings.write_text(json.dumps(values | {"dataset_config": {"targets": targets}}))
    origin = f"{settings} and command line"
    for command in (
        ["train", "-o", tmp_path / "P", "--patch-size", "8,8,8"],
        ["plan", "--patch-size", "8,8,8"],
    ):
        code, _, err = run(*command, "-i", data, "--config-path", settings)
        assert code == 2
        assert err.startswith("Error: 7 faults\n- "), err
        for part in (
            "its labels 'cells' (60, 72)",
            "image 'im1' is constant",
            "im2_cells.tif: the TIFF file is truncated",
            f"- {origin}: auxiliary_tasks.d.losses: CrossEntropyLoss cannot be used: it compares classes",
            f"- {origin}: tr_config.patch_size: 8,8,8 has 3 numbers, but the data is 2D",
            f"- {origin}: {CELLS}.losses: CosineSimilarityLoss cannot be used: it compares directions, and",
            f"- {origin}: tr_config.monitor: there will be no value 'val_cell_dice'. Did you mean",
        ):
            assert part in err


EXPERIMENT_FAULTS = {
    "unknown key": (
        "tr_config: {num_epoch: 3}",
        ["tr_config.num_epoch: unknown key. Did you mean 'num_epochs'?"],
    ),
    "unknown section": ("tr_confg: {}", ["tr_confg: unknown key. Did you mean 'tr_config'?"]),
    "unknown loss": (
        "dataset_config: {targets: {cells: {losses: [DiceLos]}}}",
        [f"{CELLS}.losses: loss 'DiceLos' is unknown. Did you mean 'DiceLoss'?"],
    ),
    "unknown loss of a task": (
        "auxiliary_tasks: {d: {type: distance_transform, source_target: cells, losses: [SignedDistancLoss]}}",
        ["auxiliary_tasks.d.losses: loss 'SignedDistancLoss' is unknown. Did you mean 'SignedDistanceLoss'?"],
    ),
    "a loss that cannot serve": (
        "dataset_config: {targets: {cells: {kind: binary, losses: [CosineSimilarityLoss]}}}",
        [f"{CELLS}.losses: CosineSimilarityLoss cannot be used", "Losses that can: "],
    ),
    "unknown setting of a loss": (
        "dataset_config: {targets: {cells: {losses: [{name: SoftDiceLoss, kwargs: {smoth: 1}}]}}}",
        [f"{CELLS}.losses: SoftDiceLoss has no setting 'smoth'. Did you mean 'smooth'?"],
    ),
    "unknown task": (
        "auxiliary_tasks: {d: {type: distance_transfrm, source_target: cells}}",
        ["auxiliary_tasks.d: 'distance_transfrm' is unknown. Did you mean 'distance_transform'?"],
    ),
    "missing source": (
        "auxiliary_tasks: {d: {type: surface_normals, source_target: cels}}",
        ["auxiliary_tasks.d.source_target: 'cels' is not a target. Did you mean 'cells'?"],
    ),
    "missing source of a named target": (
        "dataset_config: {targets: {cells: {}}}\n"
        "auxiliary_tasks: {d: {type: surface_normals, source_target: cels}}",
        ["auxiliary_tasks.d.source_target: 'cels' is not a target. Did you mean 'cells'?"],
    ),
    "a task called like a target": (
        "dataset_config: {targets: {cells: {}}}\n"
        "auxiliary_tasks: {cells: {type: surface_normals, source_target: cells}}",
        ["auxiliary_tasks.cells: a target has this name"],
    ),
    "unknown target": (
        "dataset_config: {targets: {cell: {}}}",
        ["target 'cell': no labels called 'cell' were found. Did you mean 'cells'?"],
    ),
    "channels": ("model_config: {in_channels: 3}", ["in_channels is 3, but the images have 1 channel(s)"]),
    "monitor": (
        "tr_config: {monitor: val_cell_dice}",
        ["tr_config.monitor", "Did you mean 'val_cells_dice'?"],
    ),
    "tile size": (
        "inference_config: {tile_size: [8, 8, 8]}",
        ["inference_config.tile_size: 8,8,8 has 3 numbers"],
    ),
    "stages": (
        "model_config: {features: [4], blocks_per_stage: [1, 1]}",
        ["model_config: every stage needs one entry"],
    ),
    "not YAML": ("tr_config: {num_epochs: 3\n  x: ]", ["not valid YAML, line 2, column 4"]),
    "a list": ("- 1\n- 2", ["holds a list, but an experiment has sections"]),
    "a number for a section": ("tr_config: 5", ["tr_config: 5 is not allowed"]),
}


@pytest.mark.parametrize(("text", "words"), EXPERIMENT_FAULTS.values(), ids=EXPERIMENT_FAULTS)
def test_faults_of_the_experiment_name_the_file(run, disc_folder, tmp_path, text, words):
    data = disc_folder(count=2)
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    for command in (["train", "-o", tmp_path / "P"], ["plan"], ["check"]):
        code, out, err = run(*command, "-i", data, "--config-path", file)
        assert code == 2
        said = out if "Fault:" in out else err
        assert said.count("Error:") + said.count("Fault:") == 1
        assert "Traceback" not in err
        for word in words:
            assert word in said
        assert "cell:" in text or str(file) in said
    assert not list(tmp_path.glob("P/runs/[a-z]*"))


@pytest.mark.parametrize(
    ("spoil", "keys", "words"),
    [
        (each(np.zeros_like), ["unlabelled=0"], "no voxel is labelled (all are 0, which means unlabelled)"),
        (each(np.ones_like), ["unlabelled=1"], "no voxel is labelled (all are 1, which means unlabelled)"),
        (
            each(lambda a: a * np.float32(0.4)),
            ["kind=binary"],
            "are not whole numbers, which kind binary needs",
        ),
        (
            each(lambda a: np.stack([a] * 3, -1)),
            ["kind=binary"],
            "have 3 channels, but kind binary needs one",
        ),
        (each(lambda a: a), ["values=[7]"], "the labels hold background only"),
        (
            each(lambda a: a),
            ["kind=classes", "out_channels=1"],
            "out_channels is 1, but the labels have 2 classes",
        ),
    ],
)
def test_labels_that_do_not_fit_their_target(run, small, disc_folder, tmp_path, spoil, keys, words):
    data = disc_folder(count=2)
    spoil(data)
    options = [part for text in keys for part in ("--set", f"{CELLS}.{text}")]
    code, _, err = run("train", "-i", data, "-o", tmp_path / "P", "--config-path", small, *options)
    assert (code, "Traceback" in err) == (2, False)
    assert words in err
    assert not list(tmp_path.glob("P/runs/[a-z]*"))


FLAGS = {
    "--patch-size 0": "patch size 0 is not usable: give two (2D) or three (3D) numbers of at least 4",
    "--patch-size -4,8": "patch size -4,8 is not usable",
    "--patch-size 64,64,64": "command line: tr_config.patch_size: 64,64,64 has 3 numbers",
    "--patch-size 200000,200000": "memory is not enough for patches of 200000,200000",
    "--batch-size 0": "tr_config.batch_size: 0 is not allowed: input should be greater than or equal to 1",
    "--batch-size many": "--batch-size",
    "--lr -1": "tr_config.optimizer.lr: -1.0 is not allowed",
    "--lr nan": "tr_config.optimizer.lr: nan is not allowed: input should be a finite number",
    "--num-epochs 0": "tr_config.num_epochs: 0 is not allowed",
    "--steps-per-epoch 0": "tr_config.steps_per_epoch: 0 is not allowed",
    "--stop-after 0": "--stop-after",
    "--train-split 1.5": "tr_setup.train_split: 1.5 is not allowed: input should be less than 1",
    "--seed -1": "tr_setup.seed: -1 is not allowed",
    "--max-time -1": "tr_config.max_time: -1.0 is not allowed",
    "--num-workers 9999": "tr_setup.num_workers: 9999 is not allowed",
    "--device gpuu": "tr_setup.device: 'gpuu' is not allowed. Where to compute: auto",
    "--run-name ../x": "tr_setup.run_name: '../x' is not allowed. Name of the run's folder",
    "--format foo": "dataset_config.format: 'foo' is not a valid value. Allowed: napari, tif, zarr",
    "--format zarr": "images: no image was found. Files of format zarr end in .zarr",
    "--loss DiceLos": f"{CELLS}.losses: loss 'DiceLos' is unknown. Did you mean 'DiceLoss'?",
    "--loss nuclei=Dise": "there is no target 'nuclei'. Allowed: cells",
    "--loss cells=": "--loss 'cells=' names no loss",
    "--set nonsense": "write section.key=value",
    "--set a.b=3": "a: unknown key. Allowed: auxiliary_tasks",
    "--set tr_config.num_epochs.x=3": "tr_config.num_epochs is a value and has no keys",
    "--set tr_config.num_epochs=[": "the value is not valid YAML, line 1, column 2",
    "--set tr_config.optimizer=Adam": "tr_config.optimizer: 'Adam' is not allowed: give keys, such as",
    "--no-such-flag": "--no-such-flag",
}


@pytest.mark.parametrize(("flags", "words"), FLAGS.items(), ids=FLAGS)
def test_flags_that_cannot_work(run, small, disc_folder, tmp_path, flags, words):
    data = disc_folder(count=2)
    code, _, err = run("train", "-i", data, "-o", tmp_path / "P", "--config-path", small, *flags.split())
    assert (code, "Traceback" in err) == (2, False)
    assert words in err
    assert not list(tmp_path.glob("P/runs/[a-z]*"))


@pytest.mark.parametrize("command", ["train", "check", "plan"])
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nowhere", "nowhere does not exist"),
        ("empty", "no image was found. Put images into"),
        ("file.txt", "file.txt is a file. Give the folder that holds images/ and labels/"),
        ("single.tif", "single.tif is a single image. Give the folder"),
        ("only labels", "no image was found"),
    ],
)
def test_what_is_no_data_folder(run, tmp_path, command, what, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "only labels" / "labels").mkdir(parents=True)
    (tmp_path / "file.txt").write_text("text")
    tifffile.imwrite(tmp_path / "single.tif", np.ones((8, 8), np.uint8))
    output = ["-o", tmp_path / "P"] if command == "train" else []
    code, out, err = run(command, "-i", tmp_path / what, *output)
    assert (code, "Traceback" in err, out) == (2, False, "")
    assert words in err
