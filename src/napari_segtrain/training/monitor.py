"""The value that decides which epoch is best, and how long there was none better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from napari_segtrain.config import ConfigError, did_you_mean

from .metrics import ACCURACY, HeadLike, metric_names


class Monitor:
    """Follows one value of the rows.

    Parameters
    ----------
    name
        Key of the rows, such as ``"val_loss"``.
    mode
        Whether the value should become small or large.

    Attributes
    ----------
    best, best_epoch
        The best value so far and its epoch (from 1); None and 0 before there is one.
    waited
        Rows with the value, since the best one.
    improved
        Whether the latest row is the best one.
    """

    def __init__(self, name: str = "val_loss", mode: Literal["min", "max"] = "min") -> None:
        self.name = name
        self.mode = mode
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0
        self.improved = False
        self._before: dict[str, Any] = self.state_dict()

    def update(self, row: Mapping[str, Any]) -> None:
        """Look at the row of an epoch; one without the value, or without a number, changes nothing."""
        value = row.get(self.name)
        self._before = self.state_dict()
        self.improved = False
        if value is None:
            return
        number = float(value)
        # NaN is neither smaller nor larger than anything, so it never counts as an improvement.
        if self.best is None:
            better = number == number
        else:
            better = number < self.best if self.mode == "min" else number > self.best
        if better:
            self.best, self.best_epoch, self.waited, self.improved = number, int(row["epoch"]), 0, True
        else:
            self.waited += 1

    def take_back(self) -> None:
        """Forget that the latest row was the best one: its weights could not be kept."""
        if self.improved:
            self.load_state_dict(self._before)
            self.improved = False

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from."""
        return {"name": self.name, "best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from another process; its best value is forgotten when it was of another name."""
        if state["name"] == self.name:
            self.best, self.best_epoch = state["best"], int(state["best_epoch"])
            self.waited = int(state["waited"])


def check_monitor(name: str, heads: Sequence[HeadLike], *, validates: bool) -> None:
    """Refuse a monitored value that no row will ever have.

    Raises
    ------
    ConfigError
        Names the nearest value that there is.
    """
    parts = ["train", "val"] if validates else ["train"]
    names = ["loss", ACCURACY, *(f"{head.name}_loss" for head in heads), *metric_names(heads)]
    allowed = [f"{part}_{value}" for part in parts for value in names]
    if name not in allowed:
        raise ConfigError(
            f"tr_config.monitor: there will be no value {name!r}. {did_you_mean(name, allowed)}"
        )
