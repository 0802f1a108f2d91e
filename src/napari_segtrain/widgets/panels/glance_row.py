"""What the labels of a target hold, in its row: a thumbnail, the share of each class, warnings in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import label_colormap
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from ...data.glance import PICTURE, Glance
from ..layers.layer_kind import layer_kind

_WAIT = "looking at the labels …"


class GlanceRow(QWidget):
    """Thumbnail, shares, warnings; it says when it looks, and when nothing can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.text, self.warning = QLabel(), QLabel(), QLabel()
        height, width = PICTURE
        self.picture.setFixedSize(width, height)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setObjectName("thumbnail")
        self.picture.setAccessibleName("Thumbnail of the labels")
        self.picture.setToolTip("The plane with the most labels, in the colours of its layer")
        self.text.setObjectName("shares")
        self.text.setToolTip("How much of the images is labelled with what; counted anew after each stroke")
        self.warning.setObjectName("label_warnings")
        self.warning.setToolTip("What is probably not meant; training is not kept from it")
        for label in (self.text, self.warning):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setHorizontalSpacing(8)
        layout.setVerticalSpacing(2)
        layout.addWidget(self.picture, 0, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.text, 0, 1)
        layout.addWidget(self.warning, 1, 0, 1, 2)
        layout.setColumnStretch(1, 1)
        self.say("")

    def wait(self) -> None:
        """Say that the labels are looked at; what was known stays until then."""
        if not self.text.text():
            self.say(_WAIT)

    def say(self, text: str, warnings: tuple[str, ...] = ()) -> None:
        """Show words alone."""
        self.text.setText(text)
        self.warning.setText("\n".join(f"⚠ {sentence}" for sentence in warnings))
        self.warning.setVisible(bool(warnings))
        self.picture.clear()
        self.setVisible(bool(text))

    def show_glance(self, glance: Glance, layer: Any) -> None:
        """Show what was found.

        Parameters
        ----------
        glance
            What was found.
        layer
            The layer that the picture is of; it gives the colours. None for a file.
        """
        self.say(glance.text, glance.warnings)
        self.picture.setPixmap(thumbnail(glance.picture, layer))


def thumbnail(values: npt.NDArray[Any], layer: Any) -> QPixmap:
    """Return label values, (rows, columns), as a picture in the colours of a layer; numbers in grey."""
    if layer is None and values.dtype.kind in "biu":
        colours = np.asarray(label_colormap().map(values))
    elif layer_kind(layer) == "Labels":
        colours = np.asarray(layer.colormap.map(values))
    else:
        numbers = np.nan_to_num(values.astype(np.float64))
        span = float(np.ptp(numbers)) or 1.0
        colours = np.repeat(((numbers - numbers.min()) / span)[..., None], 4, axis=-1)
        colours[..., 3] = 1.0
    pixels = np.ascontiguousarray(np.clip(np.round(255 * colours), 0, 255).astype(np.uint8))
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
    most_high, most_wide = PICTURE
    return QPixmap.fromImage(image).scaled(
        most_wide, most_high, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.FastTransformation
    )
