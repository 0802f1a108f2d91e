"""Controls that offer the viewer's layers, and follow them when they come, go or change their name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from ..forms.choice_editors import Combo
from ..forms.ticks import Ticks
from .layer_kind import layer_kind


class LayerWatch(QObject):
    """Says that the viewer's list of layers changed: insertion, removal, order, names.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    changed = Signal()
    removed = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self._named: list[Any] = []
        self._at_stop: list[Callable[[], None]] = []
        events = viewer.layers.events
        events.inserted.connect(self._on_list)
        events.removed.connect(self._on_removed)
        events.reordered.connect(self._on_list)
        self._follow_names()

    def stop(self) -> None:
        """Let go of the viewer; nothing is announced any more."""
        events = self.viewer.layers.events
        events.inserted.disconnect(self._on_list)
        events.removed.disconnect(self._on_removed)
        events.reordered.disconnect(self._on_list)
        for layer in self._named:
            layer.events.name.disconnect(self._on_name)
        self._named = []
        for let_go in self._at_stop:
            let_go()

    def at_stop(self, let_go: Callable[[], None]) -> None:
        """Have a function called when the viewer is let go of: no signal comes through that late."""
        self._at_stop.append(let_go)

    def _on_list(self, event: Any = None) -> None:
        self._follow_names()
        self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        self._on_list()
        self.removed.emit(event.value)

    def _on_name(self, event: Any = None) -> None:
        self.changed.emit()

    def _follow_names(self) -> None:
        present = list(self.viewer.layers)
        for layer in present:
            if layer not in self._named:
                layer.events.name.connect(self._on_name)
        for layer in self._named:
            if layer not in present:
                layer.events.name.disconnect(self._on_name)
        self._named = present

    def of_kind(self, accepts: Callable[[Any], bool]) -> list[Any]:
        """Return the layers that `accepts`, the topmost first, as napari lists them."""
        return [layer for layer in reversed(self.viewer.layers) if accepts(layer)]


def is_image(layer: Any) -> bool:
    """Return whether a layer holds intensities; what this plugin made does not count."""
    return layer_kind(layer) == "Image" and not _made(layer, "preview", "result")


def is_labels(layer: Any) -> bool:
    """Return whether a layer can be painted on or holds labels; previews do not count."""
    return layer_kind(layer) == "Labels" and not _made(layer, "preview")


def can_be_labels(layer: Any) -> bool:
    """Return whether a layer can be a target: labels, or an image that is a measured value."""
    return is_labels(layer) or (is_image(layer) and not layer.rgb)


def _made(layer: Any, *kinds: str) -> bool:
    ours = layer.metadata.get("napari_segtrain", {})
    return any(ours.get(kind) for kind in kinds)


class LayerCombo(Combo):
    """A combo box of layers whose value is the chosen layer's name.

    A name that no layer has stays shown, marked "(missing)", so that a configuration from a file is
    not changed by looking at it.

    Parameters
    ----------
    name
        The control's `objectName`.
    watch
        Says when to look again.
    accepts
        Which layers are offered.
    empty
        Text of the choice that stands for None; without one the first layer is chosen.
    """

    def __init__(
        self, name: str, watch: LayerWatch, accepts: Callable[[Any], bool], empty: str | None = None
    ) -> None:
        super().__init__(name)
        self._watch = watch
        self._accepts = accepts
        self._empty = empty
        self._files: tuple[str, ...] | None = None
        self.setPlaceholderText("no layer yet")
        watch.changed.connect(self.refresh)
        self.refresh()

    def offer_files(self, names: tuple[str, ...] | None) -> None:
        """Offer names of files in a folder instead of layers; None for layers again."""
        if names != self._files:
            self._files = names
            value = self.value()
            self._offer(self._watch.of_kind(self._accepts), None)
            self.set_value(value)

    def refresh(self) -> None:
        """Offer the layers of now; a chosen layer that is gone stays chosen by its name."""
        offered = self._watch.of_kind(self._accepts)
        chosen = self.chosen()
        if isinstance(chosen, str) and self._files is None:
            chosen = next((layer for layer in offered if layer.name == chosen), chosen)
        elif chosen is not None and chosen not in offered and not isinstance(chosen, str):
            chosen = chosen.name
        self._offer(offered, chosen)

    def _offer(self, layers: list[Any], chosen: Any) -> None:
        items: list[tuple[str, Any]] = [] if self._empty is None else [(self._empty, None)]
        files = self._files or ()
        if isinstance(chosen, str) and chosen not in files:
            items.append((f"{chosen} (missing)", chosen))
        items += [(name, name) for name in files]
        items += [(layer.name, layer) for layer in layers] if self._files is None else []
        if self._files is not None and chosen is not None and not isinstance(chosen, str):
            chosen = None
        self.set_items(items, chosen)

    def layer(self) -> Any:
        """Return the chosen layer, None when none is chosen or the chosen one is missing."""
        chosen = self.chosen()
        return None if isinstance(chosen, str) else chosen

    def value(self) -> Any:
        """Return the name of the chosen layer, None for none."""
        chosen = self.chosen()
        return chosen if chosen is None or isinstance(chosen, str) else chosen.name

    def set_value(self, value: Any) -> None:
        """Choose a layer by name, None for none."""
        if value is None:
            if self._empty is not None:
                self.setCurrentIndex(0)
            return
        offered = self._watch.of_kind(self._accepts)
        known = [] if self._files is not None else offered
        self._offer(offered, next((layer for layer in known if layer.name == value), str(value)))


class LayerList(Ticks):
    """A list of layers to tick; its value is the names of the ticked ones, in the viewer's order."""

    def __init__(self, name: str, watch: LayerWatch, accepts: Callable[[Any], bool]) -> None:
        super().__init__(name)
        self._watch = watch
        self._accepts = accepts
        self._layers: list[Any] = []
        self._touched = False
        self.clicked.connect(self._on_row)
        watch.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the layers of now; ticks stay, and an only layer is ticked by itself."""
        ticked = self.layers()
        self._layers = self._watch.of_kind(self._accepts)
        if not self._touched and not [layer for layer in ticked if layer in self._layers]:
            ticked = self._layers[:1]
        self._tick([layer in ticked for layer in self._layers])

    def begin_anew(self) -> None:
        """Tick what is ticked as long as nobody chose."""
        self._touched = False
        self.refresh()

    def _tick(self, ticked: list[bool]) -> None:
        self.show_boxes([layer.name for layer in self._layers], ticked)
        self.changed.emit()

    def _on_row(self, _: int) -> None:
        self._touched = True
        self.changed.emit()

    def layers(self) -> list[Any]:
        """Return the ticked layers."""
        return [layer for layer, box in zip(self._layers, self.boxes, strict=True) if box.isChecked()]

    def value(self) -> tuple[str, ...]:
        """Return the names of the ticked layers."""
        return tuple(layer.name for layer in self.layers())

    def set_value(self, value: tuple[str, ...]) -> None:
        """Tick the layers of these names and no others."""
        self._touched = True
        self._tick([layer.name in value for layer in self._layers])
