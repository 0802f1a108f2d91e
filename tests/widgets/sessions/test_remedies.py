from __future__ import annotations

from pathlib import Path

import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import Finding
from napari_segtrain.widgets.sessions.remedies import Remedies

pytestmark = pytest.mark.gui


def found(**remedy: float) -> Finding:
    return Finding(
        rule="a", severity="note", sentence="a", remedy={f"tr_config.{k}": remedy[k] for k in remedy}
    )


def test_what_is_applied_is_for_the_run_in_which_it_was_found(tmp_path: Path) -> None:
    remedies, config = Remedies(), ExperimentConfig()
    early = found(patch_size=7)
    remedies.note(early)
    assert remedies.apply(early) == "", "found before any run"
    remedies.begin(tmp_path / "a")
    remedies.note(found(steps_per_epoch=7))
    assert remedies.apply(found(steps_per_epoch=8)) == "", "found by somebody else"
    assert remedies.apply(found(steps_per_epoch=7)) == "a"
    remedies.note(found(num_epochs=2))
    assert remedies.apply(found(num_epochs=2)) == "", "the run may be past epoch 2"
    remedies.leave()
    remedies.note(early)
    assert remedies.apply(early) == "", "found before the next run began"
    remedies.begin(tmp_path / "b")
    assert remedies.cure(tmp_path / "b", config) == (config, "")
    cured, words = remedies.cure(tmp_path / "a", config)
    assert (cured.tr_config.steps_per_epoch, words) == (7, ", with tr_config.steps_per_epoch = 7 as applied")
    remedies.begin(tmp_path / "a")
    assert remedies.cure(tmp_path / "a", config) == (config, ""), "it has been resumed with it"


def test_a_change_that_no_longer_fits_is_left_out(tmp_path: Path) -> None:
    remedies, config = Remedies(), ExperimentConfig()
    remedies.begin(tmp_path)
    gone = Finding(rule="a", severity="note", sentence="a", remedy={"auxiliary_tasks.gone.loss_weight": 0.5})
    remedies.note(gone)
    remedies.apply(gone)
    assert remedies.cure(tmp_path, config) == (config, "")
