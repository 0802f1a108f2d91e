"""The events of a run as a stream of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool

from napari_segtrain.config import RunError
from napari_segtrain.runs import Event, EventTail, RunFolder, RunFollower, attempts
from napari_segtrain.runs.atomic import dump_json
from napari_segtrain.runs.follow import LOOK_EVERY
from napari_segtrain.runs.states import ENDED

HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows that the connection stands."""


def begin_at(run: RunFolder, last_id: str | None) -> EventTail:
    """Return the file of events, read up to the event that a client has seen last.

    Parameters
    ----------
    run
        The run.
    last_id
        The header ``Last-Event-ID``: ``<attempt>-<offset>``. What is no place in this attempt's file
        begins at the first event.
    """
    path = run.events_path
    attempt, dash, offset = (last_id or "").partition("-")
    if not (dash and attempt == str(len(attempts(run))) and offset.isdecimal() and len(offset) < 16):
        return EventTail(path)
    try:
        with path.open("rb") as file:
            file.seek(max(0, int(offset) - 1))
            return EventTail(path, int(offset) if int(offset) and file.read(1) == b"\n" else 0)
    except OSError:
        return EventTail(path)


def is_over(run: RunFolder, tail: EventTail) -> bool:
    """Return whether a client that has read up to `tail` has seen the end of the run."""
    if tail.offset == 0 or run.state not in ENDED:
        return False
    return not EventTail(run.events_path, tail.offset).read()


async def stream(
    run: RunFolder,
    tail: EventTail,
    *,
    heartbeat: float,
    closing: Callable[[], bool],
    begun: Callable[[RunFolder], bool],
) -> AsyncIterator[str]:
    """Yield the events of a run from `tail` on, as text of the stream, until its end.

    Every event has its type, its JSON as data, and an id to go on behind. After the last one comes an
    event ``end`` with the state of the run.

    Parameters
    ----------
    run
        The run.
    tail
        Where to begin.
    heartbeat
        Seconds of silence after which a comment is sent.
    closing
        Whether the server is about to end; the client then connects again, to the next server.
    begun
        Whether a run that has ended was just begun again, so that more is to come.
    """
    follower = RunFollower(run, tail)
    attempt = len(attempts(run))
    spoke = time.monotonic()
    yield "retry: 2000\n\n"
    while not closing():
        try:
            found = await run_in_threadpool(follower.look)
        except RunError as error:
            yield _message("end", dump_json({"status": None, "message": str(error)}, indent=None))
            return
        if found:
            spoke = time.monotonic()
            yield "".join(_event(event, f"{attempt}-{offset}") for event, offset in found)
        if follower.over and not begun(run):
            status = run.state.value
            yield _message("end", dump_json({"status": status}, indent=None))
            return
        if not found:
            if time.monotonic() - spoke >= heartbeat:
                spoke = time.monotonic()
                yield ": heartbeat\n\n"
            await asyncio.sleep(LOOK_EVERY)


def _event(event: Event, number: str) -> str:
    return f"id: {number}\n" + _message(event.event, event.to_json())  # type: ignore[attr-defined]


def _message(kind: str, data: str) -> str:
    return f"event: {kind}\ndata: {data}\n\n"
