"""`summary.txt`: what became of a run, for a person who opens the folder."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .info import RunInfo
from .states import RunState

_TERM = re.compile(r"_(?:[A-Za-z0-9]*Loss|clDice)(?:_\d+)?$")
"""Ends of the names of single terms of a loss; they are in `metrics.json`, a summary has their sums."""


def summary_text(info: RunInfo) -> str:
    """Return the text of `summary.txt`: how far it got, on what, in what time; warnings, losses, scores."""
    lines = [
        ("run", info.name),
        ("status", _status(info)),
        ("epoch", f"{info.epoch}/{info.num_epochs}" if info.num_epochs else str(info.epoch)),
        ("best", _best(info)),
        ("device", info.device or "not chosen yet"),
        ("batch", info.batch or "not chosen yet"),
        ("parameters", f"{info.parameters:,}" if info.parameters is not None else "no network yet"),
        ("split", split_words(info) or "no split yet"),
        ("time", format_seconds(info.seconds)),
    ]
    if info.message:
        lines.append(("message", _indented(info.message)))
    lines += [("warning", _indented(warning)) for warning in info.warnings]
    metrics = {
        name: v for name, v in info.final_metrics.items() if name != "epoch" and not _TERM.search(name)
    }
    blocks = ["".join(f"{label + ':':<11} {text}\n" for label, text in lines)]
    blocks += [_table(values) for values in (metrics, info.scores) if values]
    return "\n".join(blocks)


def _table(values: Mapping[str, float | int | None]) -> str:
    width = max(map(len, values)) + 1
    return "".join(f"{name + ':':<{width}} {_number(value)}\n" for name, value in values.items())


def split_words(info: RunInfo) -> str:
    """Return sizes of the parts: ``"train 120 patches an epoch from 8 images, val 30 patches …"``."""
    return ", ".join(_part_words(info, part) for part in {**info.split, **info.images})


def _part_words(info: RunInfo, part: str) -> str:
    patches, images = info.split.get(part), info.images.get(part)
    words = []
    if patches is not None:
        epoch = " an epoch" if part == "train" else ""
        words.append(f"{patches} {'patch' if patches == 1 else 'patches'}{epoch}")
    if images is not None:
        words.append(f"{images} {'image' if images == 1 else 'images'}")
    return f"{part} {' from '.join(words)}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 12)


def _status(info: RunInfo) -> str:
    if info.status in (RunState.PENDING, RunState.RUNNING) or info.finish_reason is None:
        return str(info.status)
    return f"{info.status} ({info.finish_reason.replace('_', ' ')})"


def _best(info: RunInfo) -> str:
    if info.best is None:
        return "not validated yet"
    return f"{info.best.monitor} {_number(info.best.value)} at epoch {info.best.epoch}"


def _number(value: float | int | None) -> str:
    return "undefined" if value is None else f"{value:.6g}"


def format_seconds(seconds: float) -> str:
    """Return a duration in words: ``"42 s"``, ``"3 min 05 s"``, ``"2 h 10 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
