"""The worker threads behind the docks."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from napari_segtrain.widgets.sessions.followers import perform

pytestmark = pytest.mark.gui


def test_what_a_thread_does_with_warnings_stays_as_it_is_while_a_worker_runs(
    qapp: Any, until: Callable[..., None]
) -> None:
    runs, may_end = threading.Event(), threading.Event()
    worker = perform(lambda: (runs.set(), may_end.wait(90)))
    ended: list[Any] = []
    worker.returned.connect(ended.append)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="expected here")
        mine, show = list(warnings.filters), warnings.showwarning
        worker.start()
        assert runs.wait(90)
        assert (list(warnings.filters), warnings.showwarning) == (mine, show)
        warnings.warn("expected here", UserWarning, stacklevel=1)
        may_end.set()
        until(lambda: ended)
        until(lambda: not worker.is_running)
        assert (list(warnings.filters), warnings.showwarning) == (mine, show)
    assert ended == [((None, True), "")]


@pytest.mark.parametrize("fault", [ValueError("no such thing"), ZeroDivisionError("by nothing")])
def test_what_goes_wrong_in_a_worker_is_returned_in_words(
    qapp: Any, until: Callable[..., None], fault: Exception
) -> None:
    def fail() -> None:
        raise fault

    worker = perform(fail)
    ended: list[Any] = []
    worker.returned.connect(ended.append)
    worker.start()
    until(lambda: ended)
    [(found, words)] = ended
    assert found is None
    assert str(fault) in words
