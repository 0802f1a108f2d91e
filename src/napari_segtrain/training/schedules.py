"""How the learning rate changes over a run, a step of the optimizer at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from napari_segtrain.config import Constant, Poly, Schedule, Step, WarmupCosine

from .team import Team


class Stopwatch:
    """Seconds that were spent on training, pauses left out, over all processes of a run.

    Parameters
    ----------
    spent
        Seconds that earlier processes spent.
    now
        The clock; a test gives its own.
    """

    def __init__(self, spent: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self._spent = spent
        self._now = now
        self._since: float | None = None
        self._agreed: float | None = None

    def agree(self, team: Team) -> None:
        """Show the time of the leader's watch until this is called again: it decides the learning rate."""
        if not team.alone:
            self._agreed = None
            (self._agreed,) = team.agree(self.seconds)

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        if self._agreed is not None:
            return self._agreed
        return self._spent + (0.0 if self._since is None else self._now() - self._since)

    def start(self) -> None:
        """Go, or go on after a pause."""
        if self._since is None:
            self._since = self._now()

    def pause(self) -> None:
        """Stand still until the next `start`."""
        self._agreed = None
        self._spent, self._since = self.seconds, None

    def add(self, seconds: float) -> None:
        """Count the time that an earlier process spent."""
        self._agreed = None
        self._spent += seconds


class Journey:
    """How far a run has come, from 0 to 1, by steps and, with a time limit, by time.

    Without a time limit this is ``step / total_steps`` and nothing else, so that it is the same in
    every process. With one it is the larger of the share of steps and the share of time, and never
    falls: the schedule ends when the time does. Such a run is as reproducible as its clock: a resumed
    one goes on from the point that was reached and the seconds that were spent, both of which are in
    the checkpoint.

    Parameters
    ----------
    total_steps
        Steps of the optimizer in the whole run.
    steps_per_epoch
        Steps in one epoch.
    time_limit
        Seconds, or None.
    stopwatch
        Measures the time.

    Attributes
    ----------
    reserve
        Seconds of the time limit that are kept for what comes after the last step: a validation.
    """

    def __init__(
        self,
        total_steps: int,
        steps_per_epoch: int,
        time_limit: float | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.total_steps = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.time_limit = time_limit
        self.stopwatch = stopwatch if stopwatch is not None else Stopwatch()
        self.reserve = 0.0
        self._reached = 0.0

    @property
    def time_is_up(self) -> bool:
        """Whether the time that is there for training steps is spent."""
        return self.time_limit is not None and self._time_share() >= 1.0

    def _time_share(self) -> float:
        if self.time_limit is None:
            return 0.0
        # At least a tenth of the time is for training, however long a validation takes.
        usable = max(self.time_limit - self.reserve, 0.1 * self.time_limit)
        return self.stopwatch.seconds / usable

    def reached(self, step: int) -> float:
        """Return how far `step` steps have come, as a number of steps of `total_steps`."""
        if self.time_limit is None:
            return float(min(step, self.total_steps))
        share = max(step / self.total_steps, self._time_share(), self._reached)
        self._reached = min(share, 1.0)
        return self._reached * self.total_steps

    def state_dict(self) -> dict[str, float]:
        """Return what a later process needs to go on from here."""
        return {"reached": self._reached, "seconds": self.stopwatch.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another process was."""
        self._reached = float(state["reached"])
        self.stopwatch.add(float(state["seconds"]))


def factor(schedule: Schedule, step: float, journey: Journey) -> float:
    """Return what the learning rate is multiplied by.

    Parameters
    ----------
    schedule
        The section ``tr_config.scheduler``.
    step
        Effective steps done, from 0 to ``journey.total_steps``; fractions come from a time limit.
    journey
        Length of the run and of its epochs.
    """
    share = step / journey.total_steps
    if isinstance(schedule, Constant):
        return 1.0
    if isinstance(schedule, Poly):
        return float((1.0 - share) ** schedule.exponent)
    if isinstance(schedule, Step):
        # A whole number of steps is a whole number in floating point too; a time limit's fraction is not.
        return float(schedule.factor ** (int(step) // (schedule.every * journey.steps_per_epoch)))
    if isinstance(schedule, WarmupCosine):
        rise = min(schedule.warmup_epochs * journey.steps_per_epoch, float(journey.total_steps))
        if step < rise:
            return min(1.0, (step + 1.0) / rise)
        rest = journey.total_steps - rise
        return _cosine((step - rise) / rest if rest > 0 else 1.0, schedule.min_factor)
    return _cosine(share, schedule.min_factor)


def _cosine(share: float, least: float) -> float:
    """Return ``least + (1 - least) · (1 + cos(π · share)) / 2`` (Loshchilov & Hutter 2017)."""
    return least + (1.0 - least) * 0.5 * (1.0 + math.cos(math.pi * share))


def build_scheduler(optimizer: Optimizer, schedule: Schedule, journey: Journey) -> LambdaLR:
    """Return a scheduler that is to be stepped once after every step of the optimizer."""

    def multiplier(step: int) -> float:
        return factor(schedule, journey.reached(step), journey)

    # A function, not an object: LambdaLR would put an object's attributes into the checkpoint.
    return LambdaLR(optimizer, multiplier)
