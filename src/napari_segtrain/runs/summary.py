"""`summary.txt`: what became of a run, for a person who opens the folder."""

from __future__ import annotations

from .info import RunInfo
from .states import RunState


def summary_text(info: RunInfo) -> str:
    """Return the text of `summary.txt`: status, epoch, best, device, parameters, split sizes, time."""
    lines = [
        ("run", info.name),
        ("status", _status(info)),
        ("epoch", f"{info.epoch}/{info.num_epochs}" if info.num_epochs else str(info.epoch)),
        ("best", _best(info)),
        ("device", info.device or "not chosen yet"),
        ("parameters", f"{info.parameters:,}" if info.parameters is not None else "no network yet"),
        ("split", ", ".join(f"{part} {size}" for part, size in info.split.items()) or "no split yet"),
        ("time", format_seconds(info.seconds)),
    ]
    lines += [(name, _number(value)) for name, value in info.final_metrics.items() if name != "epoch"]
    if info.message:
        lines.append(("message", info.message.replace("\n", "\n" + " " * 12)))
    return "".join(f"{label + ':':<11} {text}\n" for label, text in lines)


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
