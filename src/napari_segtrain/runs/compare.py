"""What differs between runs: settings, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_segtrain.config import RunError

from .atomic import read_json
from .folder import RunFolder

Values = tuple[Any, ...]
"""One value a run, in the order of the runs; None where a run has none."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    names
        The runs.
    settings
        The settings that are not the same in all of them, by dotted name.
    metrics
        State, epochs, best value and the metrics of the last epoch, by name.
    """

    names: tuple[str, ...]
    settings: dict[str, Values]
    metrics: dict[str, Values]


def compare_runs(runs: Sequence[RunFolder]) -> Comparison:
    """Compare runs; reads two small files of each.

    Parameters
    ----------
    runs
        At least two.

    Raises
    ------
    RunError
        When there are fewer, or a file is missing or damaged; the message says which.
    """
    if len(runs) < 2:
        raise RunError("a comparison takes at least two runs; name another")
    advice = "Restore it from config.yaml beside it, or leave the run out"
    configs = [flatten(read_json(run.path / "config.json", advice)) for run in runs]
    results = [_results(run) for run in runs]
    settings = _side_by_side(configs)
    return Comparison(
        tuple(run.name for run in runs),
        {key: values for key, values in settings.items() if any(value != values[0] for value in values)},
        _side_by_side(results),
    )


def flatten(values: Mapping[str, Any], begin: str = "") -> dict[str, Any]:
    """Return nested settings by dotted name; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{begin}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _results(run: RunFolder) -> dict[str, Any]:
    info = run.read_info()
    found: dict[str, Any] = {"status": info.status.value, "epochs": info.epoch, "seconds": info.seconds}
    if info.best is not None:
        found[f"best {info.best.monitor}"] = info.best.value
        found["best epoch"] = info.best.epoch
    return {**found, **{key: value for key, value in info.final_metrics.items() if key != "epoch"}}


def _side_by_side(tables: Sequence[Mapping[str, Any]]) -> dict[str, Values]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: tuple(table.get(name) for table in tables) for name in names}
