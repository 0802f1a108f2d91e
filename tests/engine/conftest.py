from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from napari_segtrain.engine import Engine, Predict
from napari_segtrain.runs import Event, Finished

HERE = Path(__file__).parent
# The tests of a busy machine must not wait for everybody else.
ARGUMENTS = ("--jobs", "fake_jobs:JOBS", "--nice", "0")


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """An environment in which an engine process finds the fake jobs."""
    paths = filter(None, (str(HERE), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def make_engine(environment: dict[str, str]) -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(*arguments: str, **variables: str) -> Engine:
        engine = Engine((*ARGUMENTS, *arguments), {**environment, **variables})
        made.append(engine)
        engine.start()
        return engine

    yield make
    for engine in made:
        engine.close(grace=0.0)


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine()


@pytest.fixture(scope="session")
def live(environment: dict[str, str]) -> Iterator[Engine]:
    """One engine for all tests after which it goes on."""
    with Engine(ARGUMENTS, environment) as engine:
        yield engine


@pytest.fixture
def predict(live: Engine) -> Callable[[str], tuple[list[Event], Finished]]:
    """Run the fake prediction of a name to its end; return all events of it, and its end."""

    def run(what: str) -> tuple[list[Event], Finished]:
        command = Predict(model=what, data="d", output="o")
        live.send(command)
        events: list[Event] = []
        until = time.monotonic() + 120
        for event in live.events(command.job, tick=0.5):
            if event is not None and event.job == command.job:
                events.append(event)
            if time.monotonic() > until:
                pytest.fail(f"the job {what!r} has no end")
        end = events[-1]
        if not isinstance(end, Finished):
            pytest.fail(f"the job ended with {end}")
        return events, end

    return run
