"""The node editor with a real mouse and real keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QColor, QContextMenuEvent, QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_segtrain.widgets.forms.style import theme_colours
from napari_segtrain.widgets.panels.graph.editor import GraphEditor
from napari_segtrain.widgets.panels.graph.history import History, changed_keys
from napari_segtrain.widgets.panels.graph.items import NodeItem
from napari_segtrain.widgets.panels.graph.looks import COLOURS, SHAPES, Theme
from napari_segtrain.workflow.graph import Graph, PortType

pytestmark = pytest.mark.gui

Key, Held = Qt.Key, Qt.KeyboardModifier
NODES = ("data_loader", "unet_model", "loss_function", "optimizer", "trainer")
LINKS = (
    ("data_loader.train_loader", "trainer.dataloader"),
    ("unet_model.model", "trainer.model"),
    ("loss_function.loss_fn", "trainer.loss_fn"),
    ("unet_model.model", "optimizer.model"),
    ("optimizer.optimizer", "trainer.optimizer"),
)


def with_nodes(*names: str) -> Graph:
    graph = Graph()
    for number, name in enumerate(names):
        graph = graph.add(graph.new_node(name, position=(250.0 * (number % 3), 170.0 * (number // 3))))
    return graph


class Hand:
    """A mouse over a view, in the coordinates of the scene."""

    def __init__(self, editor: GraphEditor) -> None:
        self.editor, self.view = editor, editor.view

    def port(self, spelt: str, first: str = "inputs") -> QPointF:
        """Return where a port is; of an input and an output of one name that of the side named first."""
        node, _, name = spelt.partition(".")
        item = self.editor.scene.nodes[node]
        sides = [item.inputs, item.outputs] if first == "inputs" else [item.outputs, item.inputs]
        return next(side[name].scenePos() for side in sides if name in side)

    def send(self, kind: Any, where: QPointF, button: Any = Qt.MouseButton.LeftButton) -> None:
        at = QPointF(self.view.mapFromScene(where))
        held = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseButtonRelease else button
        pressed = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else button
        screen = QPointF(self.view.viewport().mapToGlobal(at.toPoint()))
        event = QMouseEvent(kind, at, screen, pressed, held, Held.NoModifier)
        QApplication.sendEvent(self.view.viewport(), event)

    def press(self, where: QPointF) -> None:
        self.send(QEvent.Type.MouseButtonPress, where)

    def move(self, where: QPointF) -> None:
        self.send(QEvent.Type.MouseMove, where)

    def drag(self, start: QPointF, end: QPointF) -> None:
        self.press(start)
        for share in (0.3, 0.7, 1.0):
            self.move(start + (end - start) * share)
        self.send(QEvent.Type.MouseButtonRelease, end)

    def link(self, source: str, target: str, backwards: bool = False) -> None:
        ends = [self.port(source, "outputs"), self.port(target)]
        self.drag(*(ends[::-1] if backwards else ends))

    def click(self, where: QPointF) -> None:
        self.press(where)
        self.send(QEvent.Type.MouseButtonRelease, where)


@pytest.fixture
def editor(qapp: Any) -> Iterator[GraphEditor]:
    made = GraphEditor(History(), Theme(QColor("white"), QColor("#262930")))
    made.resize(900, 800)
    made.show()
    yield made
    made.close()


@pytest.fixture
def said(editor: GraphEditor) -> list[str]:
    messages: list[str] = []
    editor.refused.connect(messages.append)
    return messages


@pytest.fixture
def hand(editor: GraphEditor) -> Hand:
    return Hand(editor)


@pytest.fixture
def five(editor: GraphEditor) -> GraphEditor:
    editor.history.edit(lambda _: with_nodes(*NODES))
    editor.view.fit()
    return editor


def links(editor: GraphEditor) -> set[tuple[str, str]]:
    graph = editor.history.graph
    return {(f"{k.source}.{k.source_port}", f"{k.target}.{k.target_port}") for k in graph.links}


@pytest.mark.parametrize("backwards", [False, True])
def test_links_are_drawn_from_either_end(
    five: GraphEditor, hand: Hand, said: list[str], backwards: bool
) -> None:
    for ends in LINKS:
        hand.link(*ends, backwards)
    assert links(five) == set(LINKS)
    assert said == []
    assert len(five.scene.links) == 5


REFUSED = {
    ("data_loader.train_loader", "unet_model.input"): "Cannot connect batch to tensor",
    ("unet_model.output", "trainer.model"): "Cannot connect tensor to model",
    ("unet_model.model", "trainer.metrics"): (
        "Cannot connect output to output: a link leads from an output to an input"
    ),
    ("trainer.model", "optimizer.model"): "Cycle detected in computational graph",
    ("unet_model.output", "unet_model.input"): "Cannot connect node 'unet_model' to itself",
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("ends", REFUSED)
def test_a_wrong_link_is_refused_in_words(
    five: GraphEditor, hand: Hand, said: list[str], ends: tuple[str, str], backwards: bool
) -> None:
    hand.link("optimizer.optimizer", "trainer.optimizer")
    before = five.history.graph
    hand.link(*ends, backwards)
    assert said == [REFUSED[ends]]
    assert five.history.graph is before
    assert not five.scene.linking


def test_while_a_link_is_drawn_ports_say_where_it_may_end(five: GraphEditor, hand: Hand) -> None:
    hand.press(hand.port("unet_model.model"))
    item = five.scene.nodes
    marks = {f"{n}.{p.port.name}": p.refused for n in item for p in (*item[n].inputs.values(),)}
    assert [name for name, refused in marks.items() if refused is False] == [
        "optimizer.model",
        "trainer.model",
    ]
    assert item["unet_model"].outputs["model"].refused is None
    hand.move(hand.port("trainer.model"))
    assert five.scene.linking
    QTest.keyClick(five.view, Key.Key_Escape)
    assert not five.scene.linking
    assert {p.refused for n in item for p in (*item[n].inputs.values(), *item[n].outputs.values())} == {None}
    hand.send(QEvent.Type.MouseButtonRelease, hand.port("trainer.model"))
    assert links(five) == set()


def test_ports_say_name_and_type(five: GraphEditor) -> None:
    node = five.scene.nodes["unet_model"]
    assert node.outputs["model"].toolTip() == "model (MODEL)"
    assert node.inputs["input"].toolTip() == "input (TENSOR)"


def test_nodes_are_dragged_with_their_links_in_one_step_of_undo(five: GraphEditor, hand: Hand) -> None:
    hand.link(*LINKS[1])
    graph = five.history.graph
    item = five.scene.nodes["trainer"]
    hand.drag(item.pos() + QPointF(20, 12), item.pos() + QPointF(120, 62))
    assert five.history.graph.node("trainer").position == pytest.approx((350, 220), abs=4)
    (link,) = five.scene.links.values()
    end = link.path().currentPosition()
    assert (end.x(), end.y()) == pytest.approx(
        (hand.port("trainer.model").x(), hand.port("trainer.model").y())
    )
    five.history.undo()
    assert five.history.graph == graph
    assert five.scene.nodes["trainer"].x() == graph.node("trainer").position[0]


def test_a_rubber_band_selects_and_delete_removes_with_links(five: GraphEditor, hand: Hand) -> None:
    for ends in LINKS:
        hand.link(*ends)
    whole = five.history.graph
    hand.drag(QPointF(-12, -12), QPointF(430, 150))
    assert set(five.scene.selected_nodes()) == {"data_loader", "unet_model"}
    QTest.keyClick(five.view, Key.Key_Delete)
    assert {node.name for node in five.history.graph.nodes} == {"loss_function", "optimizer", "trainer"}
    assert links(five) == {LINKS[2], LINKS[4]}
    QTest.keyClick(five.view, Key.Key_Z, Held.ControlModifier)
    assert five.history.graph == whole
    assert len(five.scene.links) == 5
    QTest.keyClick(five.view, Key.Key_Z, Held.ControlModifier | Held.ShiftModifier)
    assert len(five.history.graph.nodes) == 3


def test_a_link_is_chosen_and_removed(five: GraphEditor, hand: Hand) -> None:
    hand.link(*LINKS[1])
    (item,) = five.scene.links.values()
    hand.click(item.path().pointAtPercent(0.5))
    assert [str(link) for link in five.scene.selected_links()] == ["unet_model.model → trainer.model"]
    five.buttons["remove"].click()
    assert links(five) == set()


def test_nodes_are_added_by_the_menu_of_the_drawing(editor: GraphEditor, hand: Hand) -> None:
    at = editor.view.viewport().rect().center()
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, editor.view.viewport().mapToGlobal(at))
    QApplication.sendEvent(editor.view.viewport(), event)
    menu = editor.view.menu
    assert menu.isVisible()
    action = next(one for one in menu.actions() if one.objectName() == "add_trainer")
    QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())
    (node,) = editor.history.graph.nodes
    assert node.type == "trainer"
    assert editor.scene.selected_nodes() == ["trainer"]
    menu.close()


def test_arrow_keys_go_from_node_to_node_and_move_them(five: GraphEditor) -> None:
    for key, name in (
        (Key.Key_Right, "data_loader"),
        (Key.Key_Right, "unet_model"),
        (Key.Key_Right, "loss_function"),
        (Key.Key_Left, "unet_model"),
        (Key.Key_Down, "trainer"),
        (Key.Key_Up, "unet_model"),
        (Key.Key_Up, "unet_model"),
    ):
        QTest.keyClick(five.view, key)
        assert five.scene.selected_nodes() == [name]
    assert "unet_model: no links" in five.view.accessibleDescription()
    QTest.keyClick(five.view, Key.Key_Down, Held.ControlModifier)
    assert five.history.graph.node("unet_model").position == (250, 20)
    QTest.keyClick(five.view, Key.Key_Escape)
    assert five.scene.selected_nodes() == []


def test_zoom_by_keys_and_wheel_keeps_within_bounds(five: GraphEditor) -> None:
    view = five.view
    view.resetTransform()
    QTest.keyClick(view, Key.Key_Plus)
    assert view.transform().m11() == pytest.approx(1.2)
    for _ in range(30):
        QTest.keyClick(view, Key.Key_Minus)
    assert view.transform().m11() == pytest.approx(0.2)
    QTest.keyClick(view, Key.Key_0)
    assert 0.2 < view.transform().m11() <= 1.0
    before = view.transform().m11()
    at = QPointF(view.viewport().rect().center())
    wheel = QWheelEvent(
        at, at, at.toPoint(), (at * 0 + QPointF(0, 120)).toPoint(), Qt.MouseButton.NoButton,
        Held.ControlModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(view.viewport(), wheel)
    assert view.transform().m11() > before


def test_arranging_is_an_edit(five: GraphEditor, hand: Hand) -> None:
    for ends in LINKS:
        hand.link(*ends)
    before = five.history.graph
    QTest.keyClick(five.view, Key.Key_L)
    graph = five.history.graph
    assert graph.node("unet_model").position[0] < graph.node("optimizer").position[0]
    five.history.undo()
    assert five.history.graph == before


def test_typing_is_one_step_of_undo() -> None:
    history = History()
    history.edit(lambda _: with_nodes("trainer"))
    for epochs in (1, 12, 123):
        history.edit(
            lambda g, epochs=epochs: g.configure("trainer", {"num_epochs": epochs}), "configure trainer"
        )
    history.undo()
    assert history.graph.node("trainer").config.num_epochs == 50
    history.redo()
    assert history.graph.node("trainer").config.num_epochs == 123
    assert not history.can_redo


def test_keys_that_differ_are_told_by_name() -> None:
    before = with_nodes("loss_function").node("loss_function").config
    one = before.replace(losses=["dice", "cross_entropy"])
    other = before.replace(losses=["dice", {"name": "cross_entropy", "weight": 2.0}])
    assert list(changed_keys(before, before)) == []
    assert list(changed_keys(before, one)) == ["losses"]
    assert list(changed_keys(one, other)) == ["losses.1.weight"]
    loader = with_nodes("data_loader").node("data_loader").config
    cells = loader.replace(targets={"cells": {"kind": "instances"}}, data="here")
    assert list(changed_keys(loader, cells)) == ["data", "targets"]


def luminance(colour: QColor) -> float:
    parts = [channel / 255 for channel in colour.getRgb()[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def contrast(one: QColor, other: QColor) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nodes_are_read_in_both_themes(theme: str, viewer: Any) -> None:
    look = Theme(*theme_colours(theme))
    assert contrast(look.text, look.body) >= 4.5
    for kind, colour in COLOURS.items():
        assert contrast(QColor(colour), look.canvas) >= 3, kind
        assert contrast(QColor(colour), look.body) >= 2.7, kind
    assert contrast(look.edge, look.canvas) >= 3


def test_types_are_told_apart_by_their_shape() -> None:
    outlines = {
        tuple((round(p.x(), 2), round(p.y(), 2)) for p in SHAPES[kind].toFillPolygon()) for kind in PortType
    }
    assert len(outlines) == len(COLOURS) == len(PortType)


def test_names_have_room_on_their_nodes(editor: GraphEditor, until: Callable[..., None]) -> None:
    from qtpy.QtGui import QFontMetricsF

    from napari_segtrain.workflow.graph import NODE_TYPES

    for kind in NODE_TYPES:
        item = NodeItem(Graph().new_node(kind), editor.scene.theme)
        small = QFontMetricsF(item._small)
        rows = [
            sum(
                small.horizontalAdvance(side[n].name)
                for side in (item.kind.inputs, item.kind.outputs)
                if n < len(side)
            )
            for n in range(4)
        ]
        assert max(rows) + 3 * 12 <= item.size.width() + 1, kind
