"""The worker threads behind the docks.

They are made by superqt, on which napari builds its own: napari would ask about each before it closes, also
about those that wait as long as a dock is open. What a closing really ends is said by `ClosingNote`.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Generator, Sequence
from threading import Thread
from typing import Any

from napari.qt.threading import GeneratorWorker
from qtpy.QtCore import QThreadPool
from superqt.utils import thread_worker

from ...config import SegtrainError
from ...engine.supervisor import Engine
from ...runs import (
    EpochDone,
    Event,
    EventTail,
    Finished,
    Paused,
    PredictDone,
    Progress,
    Resumed,
    RunFolder,
    RunFollower,
    RunStarted,
    Warned,
)
from ...runs.follow import follow as follow_events
from ...runs.scratch import Scratch
from ..layers.axes import Copies
from ..layers.colours import heads_of
from ..layers.data_spec import TrainingData
from ..layers.results import open_lazily, parts_of, read_all
from ..layers.shared_copy import Update

logger = logging.getLogger(__name__)

_TICK = 0.25
"""Seconds after which a follower looks whether the dock is still there."""

_TAIL = 2**16
"""Bytes at the end of a run's events from which it is followed; they hold the newest progress."""
_TOLD = (EpochDone, Finished, Paused, Progress, Resumed, RunStarted, Warned)
"""What a follower of a run folder is told; there are too many of the others."""

_running: set[Any] = set()


class Worker(GeneratorWorker):  # type: ignore[type-arg,unused-ignore]
    """A napari worker that leaves the process' warnings and its thread pool to others.

    superqt lets its workers catch the warnings of the whole process for as long as they run. Ours may run as
    long as a dock is open: every deprecation in every library would become a notification. And what the main
    thread does to warnings meanwhile, as napari does when it makes colours, would be undone under its hands.
    """

    def run(self) -> None:
        """Do what superqt does, but for the warnings."""
        _running.add(self)
        pool = QThreadPool.globalInstance()
        # Qt has as many threads as processors. Ours mostly wait: they give their place to others meanwhile.
        pool.releaseThread()
        self._running = True
        try:
            self.started.emit()
            result = self.work()
            if isinstance(result, RuntimeError):
                # Qt has deleted the worker, and nobody can be told of anything.
                logger.warning("a worker was deleted while it ran: %s", result)
                return
            if isinstance(result, Exception):
                raise result
            if not self.abort_requested:
                self.returned.emit(result)
        except Exception as error:
            self.errored.emit(error)
        finally:
            pool.reserveThread()
            _running.discard(self)
        self._running = False
        self.finished.emit()
        self._finished.emit(self)


@atexit.register
def _wait() -> None:
    """Let no thread run on while the interpreter is taken apart."""
    for worker in list(_running):
        worker.quit()
    if _running:
        QThreadPool.globalInstance().waitForDone(1000)


@thread_worker(worker_class=Worker)
def follow(engine: Engine) -> Generator[Event | None, None, None]:
    """Hand the engine's events to the main thread, until the process has ended."""
    yield from engine.events(tick=_TICK)


@thread_worker(worker_class=Worker)
def follow_folder(run: RunFolder) -> Generator[Event | None, None, str]:
    """Hand the events of a run that trains anywhere to the main thread, until it has ended.

    What went wrong is returned in words.
    """
    try:
        size = run.events_path.stat().st_size if run.events_path.is_file() else 0
        follower = RunFollower(run, EventTail(run.events_path, max(0, size - _TAIL)))
        for event in follow_events(follower, tick=True):
            if event is None or isinstance(event, _TOLD):
                yield event
    except (SegtrainError, OSError) as error:
        return str(error)
    return ""


@thread_worker(worker_class=Worker)
def perform(action: Callable[[], Any]) -> Generator[None, None, tuple[Any, str]]:
    """Call a function away from the main thread; return what it returns, and what went wrong in words.

    Whatever goes wrong: of an exception napari would tell the user, and nobody the dock that waits.
    """
    yield
    try:
        return action(), ""
    except (SegtrainError, OSError, ValueError, KeyError) as error:
        return None, str(error)
    except Exception as error:
        logger.exception("a worker failed")
        return None, f"{type(error).__name__}: {error}"


@thread_worker(worker_class=Worker)
def write_copies(copies: Copies, scratch: Scratch) -> Generator[str, None, str | None]:
    """Write what the engine reads, away from the main thread; what went wrong is returned in words.

    An exception that is returned would be raised by napari, and nobody told that the work has ended.
    """
    try:
        # What dead processes left may be large: nothing waits until it is deleted.
        Thread(target=scratch.tidy, name="tidy", daemon=True).start()
        yield from copies.write(scratch)
    except SegtrainError as error:
        return str(error)
    return None


@thread_worker(worker_class=Worker)
def update_copies(updates: Sequence[Update]) -> Generator[None, None, None]:
    """Bring shared arrays up to date; what came of it is in the updates."""
    for update in updates:
        yield from update.run()


@thread_worker(worker_class=Worker)
def read_results(
    event: PredictDone, model: str, lazy: bool
) -> Generator[str, None, tuple[Any, Any, Any] | str]:
    """Open what was predicted and what its instances are made of, into memory unless `lazy`.

    The third that is returned are the network's outputs. What went wrong is returned in words.
    """
    yield "reading"
    try:
        arrays = open_lazily(event) if lazy else read_all(event)
        return arrays, parts_of(event, lazy=lazy), heads_of(model)
    except (OSError, ValueError, KeyError) as error:
        return f"the prediction cannot be read back ({error}); is the disk still there?"


@thread_worker(worker_class=Worker)
def read_preview(
    read: Callable[[Any, TrainingData], Any], event: Event, data: TrainingData
) -> Generator[str, None, Any]:
    """Turn what the engine prepared into what layers take; what went wrong is returned in words."""
    yield "reading"
    try:
        return read(event, data)
    except SegtrainError as error:
        return str(error)
    except Exception as error:
        logger.exception("what the engine prepared cannot be read")
        return f"{type(error).__name__}: {error}"
