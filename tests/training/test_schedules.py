"""Learning rates follow their closed forms, step by step, and the clock where there is a time limit."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_segtrain.config import Constant, Cosine, Poly, Schedule, Step, WarmupCosine
from napari_segtrain.training import Journey, Stopwatch
from napari_segtrain.training.schedules import build_scheduler, factor

TOTAL, PER_EPOCH = 40, 4


def rates(schedule: Schedule, journey: Journey | None = None, steps: int = TOTAL) -> list[float]:
    """Return the learning rate of every step, as an optimizer sees it."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scheduler = build_scheduler(optimizer, schedule, journey or Journey(TOTAL, PER_EPOCH))
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_cosine_goes_from_the_rate_to_its_final_share() -> None:
    got = rates(Cosine(min_factor=0.1))
    expected = [0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * n / TOTAL)) / 2) for n in range(TOTAL)]
    assert got == pytest.approx(expected)
    assert got[0] == 0.5


@pytest.mark.parametrize("exponent", [0.9, 2.0])
def test_poly_is_the_power_of_what_is_left(exponent: float) -> None:
    expected = [0.5 * (1 - n / TOTAL) ** exponent for n in range(TOTAL)]
    assert rates(Poly(exponent=exponent)) == pytest.approx(expected)


def test_step_drops_at_whole_epochs() -> None:
    got = rates(Step(every=3, factor=0.1))
    assert got == pytest.approx([0.5 * 0.1 ** (n // (3 * PER_EPOCH)) for n in range(TOTAL)])


def test_warmup_rises_to_the_full_rate_then_falls_as_cosine() -> None:
    got = rates(WarmupCosine(warmup_epochs=2.0))
    rise = 2 * PER_EPOCH
    assert got[:rise] == pytest.approx([0.5 * (n + 1) / rise for n in range(rise)])
    assert got[rise] == pytest.approx(0.5)
    assert got[rise:] == sorted(got[rise:], reverse=True)
    assert got[-1] < 0.01
    assert min(rates(WarmupCosine(warmup_epochs=2.0, min_factor=0.5))[rise:]) > 0.25


def test_warmup_longer_than_the_run_only_rises() -> None:
    got = rates(WarmupCosine(warmup_epochs=100.0))
    assert got == pytest.approx([0.5 * (n + 1) / TOTAL for n in range(TOTAL)])


def test_constant_stays() -> None:
    assert set(rates(Constant())) == {0.5}


@given(
    st.sampled_from([Cosine(), Cosine(min_factor=0.3), Poly(), Step(every=1), WarmupCosine(), Constant()]),
    st.integers(1, 50),
    st.integers(1, 7),
    st.floats(0, 1),
)
def test_every_schedule_stays_between_zero_and_one(
    schedule: Schedule, epochs: int, per_epoch: int, share: float
) -> None:
    journey = Journey(epochs * per_epoch, per_epoch)
    assert 0.0 <= factor(schedule, share * journey.total_steps, journey) <= 1.0


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_stopwatch_leaves_pauses_out(clock: FakeClock) -> None:
    watch = Stopwatch(now=clock)
    clock.now += 5
    assert watch.seconds == 0
    watch.start()
    clock.now += 3
    watch.pause()
    clock.now += 100
    watch.start()
    clock.now += 2
    assert watch.seconds == 5
    watch.add(10)
    assert watch.seconds == 15


def test_with_a_time_limit_the_schedule_ends_when_the_time_does(clock: FakeClock) -> None:
    watch = Stopwatch(now=clock)
    watch.start()
    journey = Journey(1000, 10, time_limit=50.0, stopwatch=watch)

    def tick(step: int) -> float:
        clock.now += 5
        return factor(Cosine(), journey.reached(step), journey)

    got = [tick(step) for step in range(10)]
    assert got == pytest.approx([(1 + math.cos(math.pi * (n + 1) / 10)) / 2 for n in range(10)])
    assert journey.time_is_up


def test_steps_lead_when_they_are_faster_than_the_clock(clock: FakeClock) -> None:
    watch = Stopwatch(now=clock)
    watch.start()
    journey = Journey(10, 10, time_limit=1000.0, stopwatch=watch)
    assert journey.reached(5) == 5
    assert not journey.time_is_up


def test_progress_never_falls_and_is_carried_over(clock: FakeClock) -> None:
    watch = Stopwatch(now=clock)
    watch.start()
    journey = Journey(100, 10, time_limit=100.0, stopwatch=watch)
    clock.now += 60
    assert journey.reached(1) == pytest.approx(60)
    journey.reserve = -100.0
    assert journey.reached(1) == pytest.approx(60)
    later = Journey(100, 10, time_limit=100.0, stopwatch=Stopwatch(now=clock))
    later.load_state_dict(journey.state_dict())
    assert later.reached(1) == pytest.approx(60)
    assert later.stopwatch.seconds == pytest.approx(60)


def test_the_reserve_is_kept_for_the_last_validation(clock: FakeClock) -> None:
    watch = Stopwatch(now=clock)
    watch.start()
    journey = Journey(100, 10, time_limit=100.0, stopwatch=watch)
    journey.reserve = 20.0
    clock.now += 79
    assert not journey.time_is_up
    clock.now += 1
    assert journey.time_is_up


def test_without_a_time_limit_the_clock_does_not_matter(clock: FakeClock) -> None:
    watch: Callable[[], float] = clock
    stopwatch = Stopwatch(now=watch)
    stopwatch.start()
    journey = Journey(10, 5, stopwatch=stopwatch)
    clock.now += 1e6
    assert journey.reached(3) == 3
    assert not journey.time_is_up
