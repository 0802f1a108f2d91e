"""How long a frame of the node editor takes while a node with many links is dragged: at most 16 ms wanted.

    tools/with-display.sh python benchmarks/node_editor.py

60 nodes, of which the dragged one has links to 38 others; a frame is one movement of the mouse and everything
that is drawn for it.
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

GROUPS, FRAMES, WANTED = 20, 200, 16.0


def graph_of(groups: int) -> Graph:
    """One network that is handed to as many optimizers and predictors as there are groups."""
    graph = Graph().add(Graph().new_node("unet_model")).add(Graph().new_node("data_loader"))
    for number in range(1, groups):
        for kind in ("optimizer", "predictor", "image_layer"):
            graph = graph.add(graph.new_node(kind, f"{kind}_{number}"))
        graph = graph.connect("unet_model", "model", f"optimizer_{number}", "model")
        graph = graph.connect("unet_model", "model", f"predictor_{number}", "model")
        graph = graph.connect(f"image_layer_{number}", "image", f"predictor_{number}", "image")
    graph = graph.add(graph.new_node("metrics"))
    return graph.move(arrange(graph))


def main() -> None:
    app = QApplication.instance() or QApplication([])
    editor = GraphEditor(History(), Theme(QColor("white"), QColor("#262930")))
    editor.resize(1200, 900)
    editor.show()
    graph = graph_of(GROUPS)
    editor.history.edit(lambda _: graph)
    editor.view.fit()
    app.processEvents()
    view, item = editor.view, editor.scene.nodes["unet_model"]
    start = QPointF(view.mapFromScene(item.pos() + QPointF(20, 12)))

    def send(kind: QEvent.Type, at: QPointF) -> None:
        left = Qt.MouseButton.LeftButton
        event = QMouseEvent(
            kind, at, QPointF(view.viewport().mapToGlobal(at.toPoint())), left, left, Qt.KeyboardModifier(0)
        )
        QApplication.sendEvent(view.viewport(), event)

    send(QEvent.Type.MouseButtonPress, start)
    times = []
    for frame in range(FRAMES):
        begin = time.perf_counter()
        send(QEvent.Type.MouseMove, start + QPointF(4.0 * (frame % 50), 3.0 * (frame % 40)))
        app.processEvents()
        view.viewport().repaint()
        times.append(1000 * (time.perf_counter() - begin))
    send(QEvent.Type.MouseButtonRelease, start)
    longest = statistics.quantiles(times, n=20)[-1]
    print(
        f"{len(graph.nodes)} nodes, {len(graph.links)} links, {2 * (GROUPS - 1)} of them at the dragged node"
    )
    print(f"a frame takes {statistics.median(times):.1f} ms, 95 of 100 at most {longest:.1f} ms")
    print(f"ratio to {WANTED:.0f} ms: {longest / WANTED:.2f}")


if __name__ == "__main__":
    main()
