import numpy as np
import pytest

from napari_segtrain import workflow
from napari_segtrain.config import DataError
from napari_segtrain.runs import RunFolder


def test_what_is_shown_is_what_is_trained_with(disc_image, tiny_experiment, tmp_path):
    image, labels = disc_image((96, 160), 12, 0)
    painted = (labels > 0).astype(np.uint8)
    data = {"layers": [{"id": "im", "image": image, "labels": {"cells": painted}}]}
    config = tiny_experiment(**{"tr_setup.seed": 3, "tr_setup.train_split": 0.6})
    shown = workflow.preview_split(config, data)
    assert [part for part, regions in shown.split.items() if regions] == ["train", "val"]
    run = RunFolder.open(workflow.train(config, data, tmp_path / "P").path)
    assert run.read_json("split.json") == shown.split
    (train,) = shown.split["train"]
    bounds = ", ".join(f"{a}:{b}" for a, b in train["region"])
    assert shown.words[0] == f"train: 1 block: im [{bounds}]"


def test_without_labels_there_is_nothing_to_show(disc_image, tiny_experiment):
    image, _ = disc_image((48, 48), 3, 0)
    with pytest.raises(DataError, match="no image has labels of a target"):
        workflow.preview_split(tiny_experiment(), {"layers": [{"id": "im", "image": image, "labels": {}}]})
