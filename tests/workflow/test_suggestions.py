import json

import numpy as np
import pytest

from napari_segtrain import workflow
from napari_segtrain.config import ConfigError
from napari_segtrain.data import Region
from napari_segtrain.inference import PredictionCancelledError
from napari_segtrain.runs import Control, PredictProgress, RegionsRanked


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """Return a run that was trained on a few squares of one image, and its layers."""
    from napari_segtrain.config import ExperimentConfig

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 128), dtype=np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    for box in (np.s_[:32, :32], np.s_[32:, 96:]):
        labels[box] = 1 + (image[box] > 128)
    data = {"layers": [{"id": "im", "image": image, "labels": {"cells": labels}}]}
    config = ExperimentConfig.parse(
        {
            "tr_setup": {"device": "cpu", "num_workers": 0},
            "tr_config": {
                "patch_size": [16, 32],
                "num_epochs": 1,
                "steps_per_epoch": 1,
                "batch_size": 1,
                "evaluate_after": "none",
            },
            "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
            "dataset_config": {"targets": {"cells": {"kind": "binary", "unlabelled": 0}}},
            "auxiliary_tasks": {"far": {"type": "distance_transform", "source_target": "cells"}},
        }
    )
    run = workflow.train(config, data, tmp_path_factory.mktemp("sparse") / "P").path
    return run, data


def boxes(found):
    return [Region(one.record, one.start, one.stop) for one in found.regions]


def test_what_is_labelled_or_held_out_is_not_proposed(sparse):
    run, data = sparse
    told = []
    found = workflow.label_next(run, data, number=50, emit=told.append)
    held_out = [Region.from_dict(part) for part in json.loads((run / "split.json").read_text())["val"]]
    labelled = [Region("im", (0, 0), (32, 32)), Region("im", (32, 96), (64, 128))]
    assert held_out
    assert found.regions
    for box in boxes(found):
        assert box.shape == (8, 16)
        inside = [other for other in (*labelled, *held_out) if other.overlaps(box)]
        # A box may reach into labels, but never lie in them.
        assert not any(
            all(a >= c and b <= d for a, b, c, d in zip(box.start, box.stop, o.start, o.stop, strict=True))
            for o in inside
        )
    assert "labelled or held out" in found.words
    assert found.epoch == 1
    assert set(found.regions[0].doubts) == {"unsure", "outputs", "mirrors"}
    assert told[-1].fraction == 1.0
    assert all(isinstance(event, PredictProgress) for event in told)
    again = workflow.label_next(run, data, number=50)
    assert again == found
    assert workflow.label_next(run, data, number=2).regions == found.regions[:2]


def test_any_image_can_be_ranked(sparse, disc_folder, tmp_path):
    run, _ = sparse
    folder = disc_folder(count=2)
    # In a data folder of another target nothing is labelled for this one: files as they are.
    found = workflow.label_next(run, folder / "images" / "im0.tif", number=3, size=(20, 20), by="mirrors")
    places = boxes(found)
    assert len(places) == 3 and places[0].shape == (20, 20)
    assert all(0 < edge <= 20 for box in places for edge in box.shape), "at the border they may be smaller"
    assert {one.reason for one in found.regions} == {"mirrors"}
    dense = workflow.label_next(run, folder, number=3)
    assert {box.record for box in boxes(dense)} <= {"im0", "im1"}


def test_planes_of_a_stack_are_ranked_singly(sparse, tmp_path):
    import tifffile

    run, _ = sparse
    stack = np.random.default_rng(1).integers(0, 255, (5, 32, 64), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", stack, metadata={"axes": "ZYX"})
    found = workflow.label_next(run, tmp_path / "stack.tif", number=5)
    assert [box.shape for box in boxes(found)] == [(1, 8, 16)] * 5


def test_dense_labels_leave_nothing_to_propose(tiny_experiment, disc_folder, tmp_path):
    run = workflow.train(tiny_experiment(), disc_folder(), tmp_path / "P").path
    found = workflow.label_next(run)
    assert found.regions == ()
    assert "every voxel of cells counts as labelled" in found.words
    assert "unlabelled to 0" in found.words


def test_the_engine_tells_what_is_found(sparse):
    run, data = sparse
    event = workflow.rank_layers(str(run), data, number=3, device="cpu")
    assert isinstance(RegionsRanked.from_json(event.to_json()), RegionsRanked)
    assert [r.start for r in event.regions] == [
        r.start for r in workflow.label_next(run, data, number=3).regions
    ]


def test_a_stop_ends_it_and_nonsense_is_refused(sparse):
    run, data = sparse
    control = Control()
    control.stop()
    with pytest.raises(PredictionCancelledError, match="no region"):
        workflow.label_next(run, data, control=control)
    for wrong, words in (
        ({"number": 0}, "1 or more"),
        ({"by": "chance"}, "Allowed: all, unsure"),
        ({"size": (8,)}, "give 2 numbers"),
        ({"targets": ("cell",)}, "no target of this network"),
    ):
        with pytest.raises(ConfigError, match=words):
            workflow.label_next(run, data, **wrong)
