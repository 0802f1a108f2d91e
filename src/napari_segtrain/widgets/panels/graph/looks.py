"""How nodes, ports and links look: a colour and a shape for each type, in light and dark themes."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

from qtpy.QtCore import QPointF
from qtpy.QtGui import QColor, QPainterPath, QPolygonF

from ....workflow.graph import PortType

COLOURS = {
    PortType.TENSOR: "#2c81cf",
    PortType.MODEL: "#bc680f",
    PortType.BATCH: "#2a903a",
    PortType.LOSS: "#d64e5b",
    PortType.OPTIMIZER: "#936ac6",
    PortType.METRICS: "#148c8c",
    PortType.ANY: "#808080",
}
"""Colours with a contrast above 3 to light and dark themes; the shape of a port says the same."""

_CORNERS = {
    PortType.TENSOR: (4, pi / 4),
    PortType.MODEL: (6, 0.0),
    PortType.LOSS: (3, -pi / 2),
    PortType.OPTIMIZER: (4, 0.0),
    PortType.METRICS: (5, -pi / 2),
    PortType.BATCH: (3, 0.0),
}
"""Corners of a port's shape, and where the first one is; what is not here is a circle."""

RADIUS = 6.0
"""Pixels from the middle of a port to its corners, at zoom 1."""


@dataclass(frozen=True)
class Theme:
    """Colours of one of napari's themes.

    Attributes
    ----------
    text, background
        Of the window.
    """

    text: QColor
    background: QColor

    def mixed(self, share: float) -> QColor:
        """Return a colour between background (0) and text (1)."""
        pairs = zip(self.text.getRgb()[:3], self.background.getRgb()[:3], strict=True)
        return QColor(*(round(share * text + (1 - share) * back) for text, back in pairs))

    @property
    def canvas(self) -> QColor:
        """What is behind the nodes."""
        return self.background

    @property
    def body(self) -> QColor:
        """What is behind the text of a node."""
        return self.mixed(0.06)

    @property
    def edge(self) -> QColor:
        """The outline of a node."""
        return self.mixed(0.55)


def shape_of(kind: PortType, radius: float = RADIUS) -> QPainterPath:
    """Return the outline of a port around the origin."""
    path = QPainterPath()
    if kind not in _CORNERS:
        path.addEllipse(QPointF(0, 0), radius * 0.85, radius * 0.85)
        return path
    corners, first = _CORNERS[kind]
    angles = [first + 2 * pi * n / corners for n in range(corners)]
    path.addPolygon(QPolygonF([QPointF(radius * cos(a), radius * sin(a)) for a in angles]))
    path.closeSubpath()
    return path


SHAPES = {kind: shape_of(kind) for kind in PortType}
