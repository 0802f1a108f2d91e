from __future__ import annotations

from pathlib import Path

import pytest

from napari_segtrain.config import ExperimentConfig, RunError
from napari_segtrain.runs import Best, RunFolder, RunState, compare_runs


def make(project: Path, name: str, **overrides: object) -> RunFolder:
    run = RunFolder.create(project, name)
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    run.write_config(ExperimentConfig().with_overrides(keys))
    return run


def test_settings_that_differ_and_results_side_by_side(tmp_path: Path) -> None:
    a = make(tmp_path, "a", tr_config__optimizer__lr=0.1)
    b = make(tmp_path, "b", tr_config__optimizer__name="SGD", tr_config__patch_size=[64, 64])
    c = make(tmp_path, "c", dataset_config__targets={"cells": {"losses": [{"name": "DiceLoss"}]}})
    a.set_state(RunState.RUNNING)
    a.update_info(
        epoch=3, best=Best(epoch=2, monitor="val_loss", value=0.5), final_metrics={"epoch": 3, "x": 1.0}
    )
    found = compare_runs([a, b, c])
    assert found.names == ("a", "b", "c")
    default = ExperimentConfig().tr_config.optimizer.lr
    assert found.settings["tr_config.optimizer.lr"] == (0.1, default, default)
    assert found.settings["tr_config.optimizer.name"] == ("AdamW", "SGD", "AdamW")
    assert found.settings["tr_config.patch_size"] == (None, [64, 64], None)
    losses = found.settings["dataset_config.targets.cells.losses"]
    assert losses[:2] == (None, None)
    assert losses[2][0]["name"] == "DiceLoss"
    assert not any(key.startswith(("model_config", "tr_setup")) for key in found.settings), "these are equal"
    assert found.metrics["status"] == ("running", "pending", "pending")
    assert found.metrics["best val_loss"] == (0.5, None, None)
    assert found.metrics["x"] == (1.0, None, None)
    assert "epoch" not in found.metrics
    assert compare_runs([a, a]).settings == {}


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    a, b = make(tmp_path, "a"), make(tmp_path, "b")
    with pytest.raises(RunError, match="at least two runs"):
        compare_runs([a])
    (b.path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"b/config\.json: is not valid JSON.*Restore it from config\.yaml"):
        compare_runs([a, b])
