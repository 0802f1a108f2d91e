"""How long the node editor takes for what the mouse does: at most 16 ms wanted.

    tools/with-display.sh python benchmarks/node_editor.py

60 nodes, of which the dragged one has links to 38 others; a frame is one movement of the mouse and everything
that is drawn for it. A link is begun at that node, where every port of the others is asked whether it may end
there, and let go at a port that takes it.
"""

from __future__ import annotations

import statistics
import time

from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QColor, QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_segtrain.widgets.panels.graph.editor import GraphEditor
from napari_segtrain.widgets.panels.graph.history import History
from napari_segtrain.widgets.panels.graph.looks import Theme
from napari_segtrain.workflow.graph import Graph
from napari_segtrain.workflow.graph.arrange import arrange

GROUPS, FRAMES, LINKS, WANTED = 20, 200, 40, 16.0
LAST = "predictor"
"""A node without links, and the end of those that are made."""


def graph_of(groups: int) -> Graph:
    """One network that is handed to as many optimizers and predictors as there are groups."""
    graph = Graph().add(Graph().new_node("unet_model")).add(Graph().new_node("data_loader"))
    for number in range(1, groups):
        for kind in ("optimizer", "predictor", "image_layer"):
            graph = graph.add(graph.new_node(kind, f"{kind}_{number}"))
        graph = graph.connect("unet_model", "model", f"optimizer_{number}", "model")
        graph = graph.connect("unet_model", "model", f"predictor_{number}", "model")
        graph = graph.connect(f"image_layer_{number}", "image", f"predictor_{number}", "image")
    graph = graph.add(graph.new_node(LAST))
    return graph.move(arrange(graph))


class Mouse:
    """The left button over a drawing."""

    def __init__(self, editor: GraphEditor) -> None:
        self._view = editor.view

    def send(self, kind: QEvent.Type, at: QPointF) -> float:
        """Send an event, draw what has become of it, and return the milliseconds that both took."""
        left, viewport = Qt.MouseButton.LeftButton, self._view.viewport()
        event = QMouseEvent(
            kind, at, QPointF(viewport.mapToGlobal(at.toPoint())), left, left, Qt.KeyboardModifier(0)
        )
        begin = time.perf_counter()
        QApplication.sendEvent(viewport, event)
        QApplication.processEvents()
        viewport.repaint()
        return 1000 * (time.perf_counter() - begin)


def drag(editor: GraphEditor, mouse: Mouse) -> list[float]:
    """Drag the node with the links, and return how long each frame takes."""
    start = QPointF(editor.view.mapFromScene(editor.scene.nodes["unet_model"].pos() + QPointF(20, 12)))
    mouse.send(QEvent.Type.MouseButtonPress, start)
    places = [start + QPointF(4.0 * (frame % 50), 3.0 * (frame % 40)) for frame in range(FRAMES)]
    times = [mouse.send(QEvent.Type.MouseMove, place) for place in places]
    mouse.send(QEvent.Type.MouseButtonRelease, start)
    return times


def link(editor: GraphEditor, mouse: Mouse) -> tuple[list[float], list[float]]:
    """Make a link again and again, and return how long the press takes that begins it, and the release."""
    ends = [("unet_model", "model", True), (LAST, "model", False)]
    ports = [editor.scene.nodes[name].port(port, is_output) for name, port, is_output in ends]
    begin, end = (QPointF(editor.view.mapFromScene(port.scenePos())) for port in ports)
    presses, releases = [], []
    for _ in range(LINKS):
        presses.append(mouse.send(QEvent.Type.MouseButtonPress, begin))
        mouse.send(QEvent.Type.MouseMove, end)
        releases.append(mouse.send(QEvent.Type.MouseButtonRelease, end))
        if editor.history.graph.link_into(LAST, "model") is None:
            raise SystemExit("no link was made")
        editor.history.undo()
        QApplication.processEvents()
    return presses, releases


def main() -> None:
    app = QApplication.instance() or QApplication([])
    editor = GraphEditor(History(), Theme(QColor("white"), QColor("#262930")))
    editor.resize(1200, 900)
    editor.show()
    graph = graph_of(GROUPS)
    editor.history.edit(lambda _: graph)
    editor.view.fit()
    app.processEvents()
    mouse = Mouse(editor)
    count = len(graph.links_from("unet_model"))
    print(f"{len(graph.nodes)} nodes, {len(graph.links)} links, {count} of them at the dragged node")
    frames = drag(editor, mouse)
    presses, releases = link(editor, mouse)
    for what, times in {"a frame": frames, "the press": presses, "the release": releases}.items():
        longest = statistics.quantiles(times, n=20)[-1]
        print(f"{what} takes {statistics.median(times):.1f} ms, 95 of 100 at most {longest:.1f} ms")
        print(f"ratio to {WANTED:.0f} ms: {longest / WANTED:.2f}")


if __name__ == "__main__":
    main()
