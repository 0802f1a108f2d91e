"""Each dock's Help button opens its section of the documentation, without a network."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QColor
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.step_dock import StepDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.workflow_dock import WorkflowDock
from napari_segtrain.widgets.forms.style import theme_colours
from napari_segtrain.widgets.panels.heading import PAGE, Heading
from napari_segtrain.widgets.panels.help_window import HelpWindow, docs_folder, slug

pytestmark = pytest.mark.gui


def seen_heading(window: HelpWindow) -> str:
    """Return the heading at the top of what a page shows, or the last above it."""
    top, found = window.browser.verticalScrollBar().value(), ""
    block = window.browser.document().begin()
    while block.isValid():
        place = window.browser.document().documentLayout().blockBoundingRect(block).top()
        if block.blockFormat().headingLevel() and place <= top + 1:
            found = block.text()
        block = block.next()
    return found


@pytest.mark.parametrize(
    "kind", [TrainDock, PredictDock, RunsDock, CorrectDock, LabelDock, StepDock, WorkflowDock]
)
def test_help_opens_at_the_section_of_its_dock(
    make_dock: Callable[[type], Any], kind: type, qtbot: Any
) -> None:
    dock = make_dock(kind)
    titles = {LabelDock: "Label next", StepDock: "Step by step"}
    section = titles.get(kind, kind.__name__.removesuffix("Dock"))
    assert f"\n## {section}\n" in (docs_folder() / PAGE).read_text("utf-8")
    qtbot.mouseClick(dock.findChild(QPushButton, "help"), Qt.MouseButton.LeftButton)
    window = dock.findChild(Heading)._window
    assert window.isVisible()
    window.resize(680, 200)  # low enough that each section can be at the top
    window = dock.findChild(Heading).open_help()
    assert seen_heading(window) == section
    window.close()


def test_links_lead_on_and_back_and_what_is_missing_is_said(viewer: Any, qtbot: Any) -> None:
    window = HelpWindow(viewer.window._qt_window)
    window.open_at(PAGE, "")
    assert not window.back.isEnabled()
    window.browser.setSource(QUrl("reference.md#trsetup"))
    assert window.browser.document().begin().text() == "Configuration reference"
    assert seen_heading(window) == "TrSetup"
    window.browser.setSource(QUrl("gone.md"))
    assert "gone.md is not part of this installation" in window.said.text()
    assert seen_heading(window) == "TrSetup"
    window.back.click()
    assert window.browser.document().begin().text() == "The docks"
    window.close()


def test_the_window_is_used_by_key_and_follows_the_theme(
    make_dock: Callable[[type], Any], viewer: Any, until: Callable[..., None]
) -> None:
    window = make_dock(CorrectDock).findChild(Heading).open_help()
    window.browser.setFocus()
    QTest.keyClick(window.browser, Qt.Key.Key_Tab)
    QTest.keyClick(window.browser, Qt.Key.Key_Return)
    assert window.back.isEnabled(), "a link was followed"
    reached: list[Any] = []
    for _ in range(500):
        reached += [here] if (here := window.focusWidget()) not in reached else []
        QTest.keyClick(here, Qt.Key.Key_Tab)
    assert reached == [window.browser, window.back, window.close_button], "each link, then what is below"
    viewer.window.show()
    try:
        for theme in ("light", "dark"):
            viewer.theme = theme
            text, _ = theme_colours(theme)
            until(lambda text=text: link_colour(window) == text)
        assert window.isVisible()
        QTest.keyClick(window.browser, Qt.Key.Key_Escape)
        assert not window.isVisible()
    finally:
        viewer.theme = "dark"
        viewer.window._qt_window.hide()


def link_colour(window: HelpWindow) -> QColor:
    block = window.browser.document().begin()
    while block.isValid():
        for span in block.textFormats():
            if span.format.isAnchor():
                return QColor(span.format.foreground().color())
        block = block.next()
    raise AssertionError("there is no link")


def test_the_pages_are_in_the_package_and_their_links_lead_somewhere() -> None:
    project = Path(__file__).parents[3] / "pyproject.toml"
    build = tomllib.loads(project.read_text("utf-8"))["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"] == {"docs": "napari_segtrain/docs"}
    text = (docs_folder() / PAGE).read_text("utf-8")
    for page, anchor in re.findall(r"\]\(([\w./-]+\.md)(?:#([\w-]+))?\)", text):
        linked = (docs_folder() / page).read_text("utf-8")
        assert not anchor or anchor in map(slug, re.findall(r"^#+ (.*)", linked, re.M))
