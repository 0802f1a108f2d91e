"""Draws the graph of a training from nothing, as a user does, by mouse and by keyboard."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_segtrain.workflow.graph import find_faults

Key = Qt.Key
NODES = ("data_loader", "unet_model", "loss_function", "optimizer", "trainer")
LINKS = (
    ("data_loader.train_loader", "trainer.dataloader"),
    ("unet_model.model", "trainer.model"),
    ("loss_function.loss_fn", "trainer.loss_fn"),
    ("unet_model.model", "optimizer.model"),
    ("optimizer.optimizer", "trainer.optimizer"),
)
WRONG = {
    ("data_loader.train_loader", "unet_model.input"): "Cannot connect batch to tensor",
    ("unet_model.output", "trainer.model"): "Cannot connect tensor to model",
}


def links(dock: Any) -> set[tuple[str, str]]:
    return {(f"{k.source}.{k.source_port}", f"{k.target}.{k.target_port}") for k in dock.value().links}


def by_mouse(dock: Any, notes: list[tuple[str, str]]) -> None:
    """Press buttons and drag links."""
    for name in NODES:
        choose(dock.editor.kind, name)
        QTest.mouseClick(dock.editor.add_button, Qt.MouseButton.LeftButton)
    QTest.mouseClick(dock.editor.buttons["fit"], Qt.MouseButton.LeftButton)
    connect(dock, notes, drag)


def by_keyboard(dock: Any, notes: list[tuple[str, str]]) -> None:
    """Press keys alone."""
    dock.editor.view.setFocus()
    for name in NODES:
        QTest.keyClick(dock.editor.view, Key.Key_A)
        assert focus(dock).objectName() == "node_type"
        choose(focus(dock), name)
        QTest.keyClick(tab_to(dock, "add_node"), Key.Key_Space)
        assert dock.editor.scene.selected_nodes() == [name]
    connect(dock, notes, link_by_keys)


def connect(dock: Any, notes: list[tuple[str, str]], link: Any) -> None:
    for ends in WRONG:
        link(dock, *ends)
    assert notes == [("error", text) for text in WRONG.values()]
    assert links(dock) == set()
    for ends in LINKS:
        link(dock, *ends)
    assert links(dock) == set(LINKS)
    assert find_faults(dock.value()) == ()
    assert len(notes) == len(WRONG)


def drag(dock: Any, source: str, target: str) -> None:
    """Draw a link from an output to an input with the mouse."""
    view, nodes = dock.editor.view, dock.editor.scene.nodes
    (one, output), (other, entry) = source.split("."), target.split(".")
    ends = [nodes[one].outputs[output].scenePos(), nodes[other].inputs[entry].scenePos()]
    start, end = (QPointF(view.mapFromScene(point)) for point in ends)
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    for kind, at, button, held in (
        (QEvent.Type.MouseButtonPress, start, left, left),
        (QEvent.Type.MouseMove, (start + end) / 2, none, left),
        (QEvent.Type.MouseMove, end, none, left),
        (QEvent.Type.MouseButtonRelease, end, left, none),
    ):
        screen = QPointF(view.viewport().mapToGlobal(at.toPoint()))
        event = QMouseEvent(kind, at, screen, button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(view.viewport(), event)


def link_by_keys(dock: Any, source: str, target: str) -> None:
    """Make a link from the drawing on."""
    dock.editor.view.setFocus()
    QTest.keyClick(focus(dock), Key.Key_C)
    assert focus(dock).objectName() == "link_from"
    choose(focus(dock), tuple(source.split(".")))
    choose(tab_to(dock, "link_to"), tuple(target.split(".")))
    QTest.keyClick(tab_to(dock, "connect"), Key.Key_Return)


def focus(dock: Any) -> Any:
    return dock.window().focusWidget()


def choose(combo: Any, value: Any) -> None:
    """Go to an item of a list by arrow keys."""
    wanted = combo.offered().index(value)
    while combo.currentIndex() != wanted:
        QTest.keyClick(combo, Key.Key_Down if combo.currentIndex() < wanted else Key.Key_Up)


def tab_to(dock: Any, name: str) -> Any:
    """Press Tab until a control has the focus."""
    for _ in range(80):
        if focus(dock).objectName() == name:
            return focus(dock)
        QTest.keyClick(focus(dock), Key.Key_Tab)
    raise AssertionError(f"{name} is not reached")


def type_parameter(dock: Any, node: str, name: str, text: str) -> None:
    """Select a node and type one of its parameters."""
    dock.editor.select(node)
    dock.editor.view.setFocus()
    QTest.keyClick(dock.editor.view, Key.Key_Return)
    field = tab_to(dock, name)
    field.selectAll()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Key.Key_Return)
