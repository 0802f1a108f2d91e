"""What all docks share: their layout, the keyboard, the place beside each other, and letting go in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QScrollArea, QVBoxLayout, QWidget

from ...config import SegtrainError
from ..forms import notify
from ..forms.focus import chain, press, step
from ..forms.style import restyle, theme_colours
from ..layers.layer_choice import LayerWatch
from ..panels.run_panel import RunPanel
from ..sessions.beat import Beat
from ..sessions.engine_session import EngineSession
from ..sessions.followers import perform

_REST = 300
"""Milliseconds without a change of the form after which Qt is told its order."""
_NARROWEST, _WIDEST = 384, 480
"""Pixels between which a form takes what it needs; a screen of 1200 has room for the canvas then."""

_FIRST_PAINT = 300
"""Milliseconds that a dock has for itself to open, before a process that imports takes its share."""
_LOWEST = 160
"""Pixels of a form that stay in view, whatever stands below it."""


class Dock(QWidget):
    """A form that scrolls over a foot that does not.

    napari takes a closed dock out of its window without closing it, and deletes those of a closed window
    without asking; both are noticed here, so that no process and no callback outlives its dock.

    Parameters
    ----------
    napari_viewer
        The viewer.
    let_go
        Called at the end, perhaps when the dock is gone already.
    """

    panel: RunPanel

    def __init__(self, napari_viewer: Any, let_go: Callable[[], None]) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.beat = Beat(self)
        self._let_go = let_go
        self._docked = self._closed = self._placed = False
        self.destroyed.connect(partial(_call, let_go))
        self._chaining, self._styling = QTimer(self), QTimer(self)
        for timer, wait, work in (
            (self._chaining, _REST, self._on_rearranged),
            (self._styling, 0, self._on_style),
        ):
            timer.setSingleShot(True)
            timer.setInterval(wait)
            timer.timeout.connect(work)

    def _stack(self, head: QWidget, body: QWidget, *foot: QWidget) -> None:
        """Lay out: a fixed head, a body that scrolls, a fixed foot."""
        restyle(self, theme_colours(self.viewer.theme))
        scroll = _Scroll()
        scroll.rearranged.connect(self._chaining.start)
        scroll.setObjectName("scroll")
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(body)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setMinimumHeight(_LOWEST)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addWidget(head)
        layout.addWidget(scroll, 1)
        for widget in foot:
            layout.addWidget(widget)

    def show_in_view(self, widget: QWidget) -> None:
        """Scroll to a control, when its size is known."""
        scroll = self.findChild(QScrollArea, "scroll")
        QTimer.singleShot(0, partial(_scroll_to, scroll, widget))

    def _refuse(self, message: str) -> None:
        """Say in words why something cannot be done."""
        self.panel.say(message)
        notify.error(message)

    def _ask(
        self, work: Callable[[], Any], then: Callable[[Any], None], ended: Callable[[], None] | None = None
    ) -> None:
        """Have a worker read or write files; `then` takes what it returns, a fault is said.

        Parameters
        ----------
        work
            Called in a thread.
        then
            Called on the main thread, unless the dock was closed meanwhile.
        ended
            Called before that, and before a fault is said.
        """

        def on_end(result: tuple[Any, str]) -> None:
            if not isalive(self) or self._closed:
                return
            found, fault = result
            if ended is not None:
                ended()
            try:
                if fault:
                    raise SegtrainError(fault)
                then(found)
            except SegtrainError as error:
                self._refuse(str(error))

        worker = perform(work)
        worker.returned.connect(on_end)
        worker.start()

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Move the focus to the next or the previous control, as they are read."""
        return step(self, forward) or bool(super().focusNextPrevChild(forward))

    def keyPressEvent(self, event: Any) -> None:
        """Let Enter press what has the focus: Qt does it on some systems, and for the space bar on all."""
        plain = not (event.isAutoRepeat() or event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier)
        if not (plain and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and press(self.focusWidget())):
            super().keyPressEvent(event)

    def showEvent(self, event: Any) -> None:
        """Find a place beside the other docks, once; the user may put it elsewhere."""
        super().showEvent(event)
        self._styling.start()  # the theme may be another one since
        if not self._placed:
            self._placed = True
            QTimer.singleShot(0, self._share_place)

    def _share_place(self) -> None:
        """Become a tab beside the other docks: one above the other, all would be too low."""
        own = frame_of(self)
        if self._closed or own is None or own.isFloating():
            return
        window = own.parentWidget()
        for other in map(frame_of, window.findChildren(Dock)):
            if other not in (None, own) and window.dockWidgetArea(other) == window.dockWidgetArea(own):
                window.tabifyDockWidget(other, own)
                own.raise_()
                return  # the others are tabs of the same place; joining each would part them again

    def changeEvent(self, event: Any) -> None:
        """Take up another theme, and notice being taken out of the window."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._styling.start()  # not now: Qt is in the middle of it
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.shut_down()

    def _on_rearranged(self) -> None:
        if not self._closed and self.isVisible():
            chain(self)

    def _on_style(self) -> None:
        if not self._closed and self.isVisible():
            restyle(self)

    def closeEvent(self, event: Any) -> None:
        """Let go of the viewer, and of what works for the dock."""
        self.shut_down()
        super().closeEvent(event)

    def shut_down(self) -> None:
        """Let go of the viewer, and of what works for the dock."""
        if not self._closed:
            self._closed = True
            self._let_go()


class EngineDock(Dock):
    """A dock with an engine of its own, and an eye on the layers.

    Parameters
    ----------
    napari_viewer
        The viewer.
    engine_arguments
        Arguments of the engine process, for tests. A running job stops with the dock, with a checkpoint.
    """

    def __init__(self, napari_viewer: Any, engine_arguments: Sequence[str]) -> None:
        watch, engine = LayerWatch(napari_viewer), EngineSession(engine_arguments)
        super().__init__(napari_viewer, partial(_let_go, watch, engine))
        self.watch, self.engine = watch, engine
        self._warming = QTimer(self)
        self._warming.setSingleShot(True)
        self._warming.setInterval(_FIRST_PAINT)
        self._warming.timeout.connect(self._on_opened)

    def _warm(self) -> None:
        """Start the engine's process soon, so that it has everything imported when it is needed."""
        self._warming.start()

    def _on_opened(self) -> None:
        try:
            self.engine.warm()  # does nothing for a dock that was closed meanwhile
        except SegtrainError as error:
            self.panel.say(str(error))


class _Scroll(QScrollArea):
    """A column that scrolls up and down, and is never narrower than what it holds."""

    rearranged = Signal()
    """What it holds was laid out anew."""

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the content when it becomes wider, as a list with a new row does."""
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize) and watched is self.widget():
            bar = self.verticalScrollBar().sizeHint().width()
            needed = watched.minimumSizeHint().width() + bar
            self.setMinimumWidth(min(max(needed, _NARROWEST), _WIDEST))
            self.rearranged.emit()
        return bool(super().eventFilter(watched, event))


def frame_of(dock: QWidget) -> QDockWidget | None:
    """Return the frame that napari put a dock into."""
    frame = dock.parentWidget()
    while frame is not None and not isinstance(frame, QDockWidget):
        frame = frame.parentWidget()
    return frame


def _call(let_go: Callable[[], None], *_: Any) -> None:
    let_go()


def _let_go(watch: LayerWatch, engine: EngineSession) -> None:
    watch.stop()
    engine.close()


def _scroll_to(scroll: QScrollArea, widget: QWidget) -> None:
    if isalive(scroll) and isalive(widget):
        scroll.ensureWidgetVisible(widget)
