"""Which labels and which mask belong to each image, where a target is learned from several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from ..layers.data_spec import Chosen
from ..layers.layer_choice import LayerCombo, LayerWatch, can_be_labels, is_labels

_NOTHING = object()
"""The choice that an image has no labels, or no mask."""


class ImageCombo(LayerCombo):
    """A layer that belongs to an image: the one that its name tells, another, or none.

    Parameters
    ----------
    name
        The control's `objectName`.
    watch
        Says which layers there are.
    accepts
        Which layers are offered.
    named
        Returns the layer that is taken when nothing is chosen.
    """

    def __init__(
        self, name: str, watch: LayerWatch, accepts: Callable[[Any], bool], named: Callable[[], Any]
    ) -> None:
        self._named = named
        super().__init__(name, watch, accepts, empty="")

    def refresh(self) -> None:
        """Offer the layers of now; no layer, where that was chosen, stays chosen."""
        if self.chosen() is _NOTHING:
            self._offer(self._watch.of_kind(self._accepts), _NOTHING)
        else:
            super().refresh()

    def _offer(self, layers: list[Any], chosen: Any) -> None:
        found = self._named()
        items: list[tuple[str, Any]] = [(f"{found.name} (by name)" if found is not None else "none", None)]
        if found is not None:
            items.append(("none", _NOTHING))
        if isinstance(chosen, str):
            items.append((f"{chosen} (missing)", chosen))
        self.set_items([*items, *((layer.name, layer) for layer in layers)], chosen)

    @property
    def choice(self) -> Any:
        """The chosen layer, or the name of one that is gone; None for no layer, `...` for nothing chosen."""
        chosen = self.chosen()
        if chosen is None:
            return ...
        return None if chosen is _NOTHING else chosen


class ImageRows(QWidget):
    """A row for each of several images: its name, its labels, its mask.

    Parameters
    ----------
    watch
        Says which layers there are.
    named
        Returns the layer that holds an image's labels, or its mask, when none is chosen.
    """

    changed = Signal()

    def __init__(self, watch: LayerWatch, named: Callable[[Any, bool], Any]) -> None:
        super().__init__()
        self._watch, self._named = watch, named
        self.rows: dict[Any, tuple[QLabel, ImageCombo, ImageCombo]] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(4)
        for column, (text, tip) in enumerate(
            (
                ("Image", "Every image that is trained on"),
                ("Labels", "Where this target is painted for it"),
                ("Mask", "Where those labels count"),
            )
        ):
            label = QLabel(text)
            label.setToolTip(tip)
            self._grid.addWidget(label, 0, column)
            self._grid.setColumnStretch(column, 1)
        self.hide()

    def offer(self, images: Sequence[Any]) -> None:
        """Show a row for each of these images; none for a single one, to which the target's layers belong."""
        shown = list(images) if len(images) > 1 else []
        for image in [image for image in self.rows if image not in shown]:
            for widget in self.rows.pop(image):
                self._grid.removeWidget(widget)
                widget.hide()
                widget.deleteLater()
        for image in shown:
            if image not in self.rows:
                self.rows[image] = self._row(image)
        for number, image in enumerate(shown, start=1):
            label, *combos = self.rows[image]
            label.setText(str(image.name))
            label.setToolTip(str(image.name))
            for column, widget in enumerate((label, *combos)):
                self._grid.addWidget(widget, number, column)
        self.refresh()
        self.setVisible(bool(shown))

    def refresh(self) -> None:
        """Say again which layers are told by their names."""
        for _, *combos in self.rows.values():
            for combo in combos:
                combo.refresh()

    def _row(self, image: Any) -> tuple[QLabel, ImageCombo, ImageCombo]:
        label = QLabel()
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        combos = []
        for what, accepts, tip in (
            ("labels", can_be_labels, "Where this target is painted for {!r}"),
            ("mask", is_labels, "Where the labels of {!r} count"),
        ):
            mask = what == "mask"
            combo = ImageCombo(f"image_{what}", self._watch, accepts, partial(self._named, image, mask))
            combo.setToolTip(tip.format(str(image.name)))
            combo.setAccessibleName(tip.format(str(image.name)))
            combo.changed.connect(self.changed)
            combos.append(combo)
        return label, combos[0], combos[1]

    def chosen(self) -> Chosen:
        """Return what was chosen for images, by image and by whether it is the mask."""
        found: Chosen = {}
        for image, (_, labels, mask) in self.rows.items():
            for combo, is_mask in ((labels, False), (mask, True)):
                if combo.choice is not ...:
                    found[image, is_mask] = combo.choice
        return found

    def layers(self) -> list[tuple[Any, Any]]:
        """Return the labels and the mask that each image has now, None where it has none."""
        return [
            tuple(self._now(image, combo, mask) for combo, mask in ((labels, False), (own_mask, True)))
            for image, (_, labels, own_mask) in self.rows.items()
        ]

    def _now(self, image: Any, combo: ImageCombo, mask: bool) -> Any:
        choice = combo.choice
        if choice is ...:
            return self._named(image, mask)
        return None if isinstance(choice, str) else choice
