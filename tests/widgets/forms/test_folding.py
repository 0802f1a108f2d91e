from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_segtrain.widgets.forms.folding import fold

pytestmark = pytest.mark.gui


def test_an_open_section_is_as_high_as_what_is_in_it_now(qtbot: Any, until: Callable[..., None]) -> None:
    window, content = QWidget(), QWidget()
    qtbot.addWidget(window)
    inside = QVBoxLayout(content)
    section = fold("Targets", content, opened=True)
    column = QVBoxLayout(window)
    column.addWidget(section)
    column.addStretch(1)
    window.resize(300, 700)
    window.show()
    tall = QLabel("tall")
    tall.setFixedHeight(300)
    inside.addWidget(tall)
    until(lambda: content.height() >= 300)
    inside.removeWidget(tall)
    tall.hide()
    until(lambda: content.height() < 100)
    inside.addWidget(tall)
    tall.show()
    until(lambda: content.height() >= 300)
    button = section.toggleButton()
    button.click()
    until(lambda: not content.isVisible())
    button.click()
    until(lambda: content.isVisible() and content.height() >= 300)
