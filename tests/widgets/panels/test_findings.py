from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton

from napari_segtrain.runs import Finding, Warned
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.panels.findings_row import FindingsRow

pytestmark = pytest.mark.gui

FAST = Finding(rule="rate", severity="warning", sentence="too fast", remedy={"tr_config.optimizer.lr": 0.01})
WORSE = Finding(rule="memory", severity="fault", sentence="too large")
NOTE = Finding(rule="check", severity="note", sentence="worth knowing")


def click(qtbot: Any, widget: Any, name: str) -> None:
    qtbot.mouseClick(widget.findChild(QPushButton, name), Qt.MouseButton.LeftButton)


def test_the_worst_finding_comes_first_and_each_can_be_reached(qtbot: Any) -> None:
    row = FindingsRow()
    qtbot.addWidget(row)
    assert row.isHidden()
    row.set_value((NOTE, FAST, WORSE))
    shown = row.findChild(QLabel, "finding")
    seen = []
    for _ in row.value():
        seen.append((shown.text(), row.apply.isHidden()))
        click(qtbot, row, "next_finding")
    assert seen == [
        ("Fault 1 of 3: too large", True),
        ("Warning 2 of 3: too fast", False),
        ("Note 3 of 3: worth knowing", True),
    ]
    for _ in range(3):
        click(qtbot, row, "dismiss_finding")
    assert row.isHidden()
    assert row.value() == ()


def test_one_click_asks_the_doctor_and_another_makes_the_change(
    qtbot: Any, make_dock: Callable[..., Any], viewer: Any, until: Callable[..., None]
) -> None:
    painted = np.zeros((60, 70), np.uint8)
    painted[20:40, 20:40] = 1
    viewer.add_image(painted * 100, name="im")
    viewer.add_labels(painted, name="im_cells")
    dock = make_dock(TrainDock)
    dock.set_value(dock.value().with_overrides({"tr_config.optimizer.lr": 0.5}))
    click(qtbot, dock, "diagnose")
    until(lambda: not dock.previews.busy)
    assert dock.panel.text == "The training doctor finds that one thing speaks against this training."
    assert [finding.sentence for finding in dock.findings.value()] == ["too fast", "worth knowing"]
    click(qtbot, dock, "apply_finding")
    assert dock.value().tr_config.optimizer.lr == 0.001
    assert "press Start" in dock.panel.text
    # While a training runs the finding comes with the warning, and its change is for the next run.
    dock.session.happened.emit(Warned(message=FAST.sentence, finding=FAST))
    assert dock.findings.value()[-1] == FAST
    click(qtbot, dock, "apply_finding")
    assert dock.value().tr_config.optimizer.lr == 0.01
