from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segtrain.runs import BatchDone, EpochDone, RunStarted
from napari_segtrain.widgets.panels.curves import Curves, Series
from napari_segtrain.widgets.sessions.beat import Beat

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]


def started(first: int = 1) -> RunStarted:
    return RunStarted(run_id="1", name="r", path="r", num_epochs=9, first_epoch=first, steps_per_epoch=10)


def test_a_long_curve_is_thinned_but_keeps_its_mean_and_its_ends() -> None:
    series = Series()
    for step in range(10_000):
        series.add(step, step % 2)
    assert len(series.x) <= 2000
    assert np.mean(series.y) == pytest.approx(0.5)
    assert series.x[0] < 10
    assert series.x[-1] > 9900


def test_missing_values_are_left_out() -> None:
    series = Series()
    series.add(1, None)
    series.add(2, 3.0)
    assert (series.x, series.y) == ([2], [3.0])


def test_curves_per_target_and_part(qtbot: Any) -> None:
    curves = Curves(Beat())
    curves.show()
    curves.begin(started())
    for step in range(1, 21):
        curves.add_batch(BatchDone(epoch=1, step=step, loss=2.0, parts={"nuclei": 1.5, "nuclei/Dice": 1.0}))
    row = {"train_loss": 9.0, "train_nuclei_dice": 0.4, "val_loss": 1.0, "val_nuclei_dice": 0.5}
    curves.add_epoch(EpochDone(epoch=2, num_epochs=9, row=row))
    assert curves.points("train", "loss")[0][-1] == 2.0, "20 steps of 10 an epoch"
    assert curves.points("train", "nuclei_loss")[1] == [1.5] * 20
    assert curves.points("val", "loss") == ([2.0], [1.0])
    assert curves.points("train", "nuclei_dice") == ([2.0], [0.4])
    qtbot.waitUntil(lambda: curves.choice.offered() == ["loss", "nuclei_dice", "nuclei_loss"])
    curves.choice.set_value("nuclei_dice")
    x, y = curves._lines["val"].getData()
    assert (list(x), list(y)) == ([2.0], [0.5])
    curves.close()


def test_epochs_are_plain_numbers_from_the_first_step_on(qtbot: Any) -> None:
    curves = Curves(Beat())
    curves.show()
    curves.begin(started())
    curves.add_batch(BatchDone(epoch=1, step=3, loss=2.0))
    qtbot.waitUntil(lambda: curves._plot is not None and curves._lines["train"].getData()[0] is not None)
    low, high = curves._plot.getAxis("bottom").range
    assert low == 0.0
    assert high >= 1.0, "no thousandths of an epoch"
    assert "x0.001" not in curves._plot.getAxis("bottom").labelString()
    curves.close()


def test_a_new_run_begins_empty_and_a_resumed_one_with_its_earlier_epochs() -> None:
    curves = Curves(Beat())
    curves.begin(started())
    curves.add_batch(BatchDone(epoch=1, step=1, loss=1.0))
    rows = [{"epoch": n, "train_loss": 1 / n, "val_loss": 2 / n, "train_a_loss": None} for n in (1, 2)]
    resumed = started(first=3)
    curves.begin(resumed)
    curves.add_batch(BatchDone(epoch=3, step=21, loss=0.25))
    curves.put_before(resumed, rows)  # read by a worker meanwhile
    assert curves.points("train", "loss") == ([1.0, 2.0, 2.1], [1.0, 0.5, 0.25])
    assert curves.points("val", "loss") == ([1.0, 2.0], [2.0, 1.0])
    curves.begin(started())
    curves.put_before(resumed, rows)
    assert curves.points("train", "loss")[0] == [], "those of another run come too late"


def test_the_plot_follows_the_theme(qtbot: Any) -> None:
    curves = Curves(Beat())
    curves.show()
    curves.add_batch(BatchDone(epoch=1, step=3, loss=2.0))
    qtbot.waitUntil(lambda: curves._plot is not None)
    for colour in ("#ff0000", "#00ff00"):
        before = curves._plot
        curves.setStyleSheet(f"QWidget {{ color: {colour}; }}")
        qtbot.waitUntil(lambda before=before: curves._plot not in (None, before))
        assert curves._plot.getAxis("left").textPen().color().name() == colour
    assert list(curves._lines["train"].getData()[1]) == [2.0]
    curves.close()
