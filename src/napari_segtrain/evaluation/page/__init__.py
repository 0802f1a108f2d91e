"""`report.html` of a run: everything that is known of it, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_segtrain.config import RunError, SegtrainError
from napari_segtrain.runs import RunFolder, RunInfo, format_seconds, split_words, write_text

from .chart import Points, chart
from .html import Html, details, join, page, picture, table, tag
from .scores import scores_section

REPORT = "report.html"
_MOST_POINTS = 1000
_MOST_LOG = 30_000
"""Letters of the end of the log that are shown."""

__all__ = ["REPORT", "write_page"]


def write_page(run: RunFolder) -> Path:
    """Write the page of a run, from whatever is in its folder: it may be running, failed, or scored.

    Parameters
    ----------
    run
        The run.

    Returns
    -------
    Path
        ``report.html`` in the run folder.

    Raises
    ------
    RunError
        When `run.json` is damaged or the page cannot be written.
    """
    info = run.read_info()
    sections = (
        _head(info),
        _warnings(info),
        scores_section(run),
        _curves(run, info),
        _debug_picture(run),
        _data(run, info),
        _environment(run, info),
    )
    path = run.path / REPORT
    write_text(path, page(f"{info.name}: {info.status}", *sections))
    return path


def _head(info: RunInfo) -> Html:
    reason = f" ({info.finish_reason.replace('_', ' ')})" if info.finish_reason else ""
    best = "not validated yet"
    if info.best is not None and info.best.value is not None:
        best = f"{info.best.monitor} {info.best.value:.6g} at epoch {info.best.epoch}"
    facts = [
        ("epoch", f"{info.epoch}/{info.num_epochs}" if info.num_epochs else info.epoch),
        ("best", best),
        ("time", format_seconds(info.seconds)),
        ("device", info.device or "not chosen yet"),
        ("parameters", "no network yet" if info.parameters is None else f"{info.parameters:,}"),
        ("split", split_words(info) or "no split yet"),
    ]
    badge = tag("span", info.status, class_=f"badge {info.status}")
    title = tag("h1", info.name, " ", badge)
    bad = " bad" if info.status == "failed" else ""
    message = [tag("div", info.message, class_=f"warning{bad}")] if info.message else []
    return join([title, tag("p", f"run {info.id}{reason}", class_="quiet"), *message, table([], facts)])


def _warnings(info: RunInfo) -> Html:
    if not info.warnings:
        return Html("")
    return join([tag("h2", "Warnings"), *(tag("div", text, class_="warning") for text in info.warnings)])


def _curves(run: RunFolder, info: RunInfo) -> Html:
    try:
        rows = run.read_metrics()
    except RunError:
        rows = []
    if not rows:
        return join([tag("h2", "Curves"), tag("p", "No epoch is complete.", class_="quiet")])
    best = info.best.epoch if info.best is not None else None
    groups = _grouped(rows)
    first = [name for name in groups if name in ("loss", "learning_rate") or not name.endswith(_TERMS)]
    drawn = {name: chart(name.replace("_", " "), lines, mark=best) for name, lines in groups.items()}
    rest = [drawn[name] for name in groups if name not in first]
    parts = [tag("h2", "Curves"), tag("div", *(drawn[name] for name in first), class_="row")]
    if rest:
        parts.append(details("losses of single outputs", tag("div", *rest, class_="row")))
    return join(parts)


_TERMS = ("_loss", "Loss", "_clDice")
"""Ends of the names of parts of the loss."""


def _grouped(rows: list[Any]) -> dict[str, dict[str, Points]]:
    """Return lines by what they show, training and validation together; the losses first."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "epoch"))
    groups: dict[str, dict[str, Points]] = {"loss": {}}
    every = max(1, -(-len(rows) // _MOST_POINTS))
    for name in names:
        part, _, rest = name.partition("_")
        what, line = (rest, part) if part in ("train", "val") else (name, name)
        known = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
        groups.setdefault(what, {})[line] = known[::every]
    return {what: lines for what, lines in groups.items() if lines}


def _debug_picture(run: RunFolder) -> Html:
    found = [path for suffix in ("png", "gif") for path in sorted(run.plots.glob(f"*_debug.{suffix}"))]
    if not found:
        return Html("")
    shown = (picture(path, "image, ground truth and prediction at the last validation") for path in found)
    return join([tag("h2", "A patch of the last validation"), *shown])


def _data(run: RunFolder, info: RunInfo) -> Html:
    """Return how the data was split."""
    parts = [tag("h2", "Data")]
    rows = [[part, info.images.get(part, 0), info.split.get(part)] for part in {**info.split, **info.images}]
    if rows:
        parts.append(table(["part", "images", "patches an epoch"], rows))
    if text := _text(run.path / "split.json"):
        parts.append(details("which image, and which part of it, is used for what", tag("pre", text)))
    return join(parts)


def _environment(run: RunFolder, info: RunInfo) -> Html:
    facts: Mapping[str, Any] = {
        "machine": info.host or "not started",
        "device": info.device or "not chosen yet",
        "created": info.created,
        "started": info.started,
        "ended": info.finished,
        **info.versions,
    }
    parts = [
        tag("h2", "Environment"),
        table([], [[k, "–" if v is None else str(v)] for k, v in facts.items()]),
    ]
    parts.append(tag("h2", "Configuration"))
    config = _text(run.path / "config.yaml")
    shown = tag("pre", config) if config else tag("p", "It was not written yet.", class_="quiet")
    parts.append(details("the complete experiment, as YAML", shown))
    log = _text(run.log_path)
    if log:
        failed = info.status == "failed"
        parts += [tag("h2", "Log"), details("its end", tag("pre", log[-_MOST_LOG:]), open_=failed)]
    return join(parts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, SegtrainError):
        return ""
