"""The graph that is edited, and those that it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from qtpy.QtCore import QObject, Signal

from ....config import Config
from ....workflow.graph import Graph


class History(QObject):
    """A graph, and the way back: each is a value, so that undo is a list of them."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self._past: list[Graph] = []
        self._future: list[Graph] = []
        self._tag = ""

    def edit(self, change: Callable[[Graph], Graph], tag: str = "") -> None:
        """Change the graph.

        Parameters
        ----------
        change
            Returns the new graph; what it raises is raised, and nothing has changed.
        tag
            Edits that follow each other with the same tag are one step of undo, as typing is.
        """
        changed = change(self.graph)
        if changed == self.graph:
            return
        if not tag or tag != self._tag:
            self._past.append(self.graph)
        self._tag, self._future, self.graph = tag, [], changed
        self.changed.emit()

    def end_step(self) -> None:
        """Let the next edit be a step of undo of its own, whatever its tag."""
        self._tag = ""

    @property
    def can_undo(self) -> bool:
        """Whether there is a graph before."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether an edit was undone."""
        return bool(self._future)

    def undo(self) -> None:
        """Go back to the graph before the last edit."""
        if self._past:
            self._future.append(self.graph)
            self._go(self._past.pop())

    def redo(self) -> None:
        """Make the last edit that was undone again."""
        if self._future:
            self._past.append(self.graph)
            self._go(self._future.pop())

    def _go(self, graph: Graph) -> None:
        self._tag, self.graph = "", graph
        self.changed.emit()


def changed_keys(before: Config, after: Config) -> Iterator[str]:
    """Yield the keys whose values differ, those of sections as ``"patch.size"``.

    Parameters
    ----------
    before, after
        Parameters of one node. What is written as one text, such as a mapping, is one key.
    """
    for name in type(before).model_fields:
        yield from _changed(name, getattr(before, name), getattr(after, name, None))


def _changed(key: str, before: Any, after: Any) -> Iterator[str]:
    both = (before, after)
    if before == after:
        return
    if isinstance(before, Config) and type(before) is type(after):
        yield from (f"{key}.{name}" for name in changed_keys(before, after))
    elif all(isinstance(value, list | tuple) for value in both) and len(before) == len(after):
        for number, values in enumerate(zip(before, after, strict=True)):
            yield from _changed(f"{key}.{number}", *values)
    else:
        yield key
