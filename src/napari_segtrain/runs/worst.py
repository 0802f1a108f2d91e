"""The patches of a run that were predicted worst, and which of them the user has seen to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from napari_segtrain.config import RunError

from .atomic import read_json, write_json
from .folder import RunFolder

LISTED = 20
"""Most patches that are listed of an output."""
_INDEX, _LIVE, _DONE = "index.json", "val_worst.json", "done.json"
_PART = "val"


@dataclass(frozen=True)
class WorstPatch:
    """A patch with a bad score.

    Attributes
    ----------
    output
        The output of the network.
    record
        Id of the image.
    start, stop
        First voxel and the one after the last, a number a spatial axis.
    score, value
        Name of the score that decides, and its value.
    """

    output: str
    record: str
    start: tuple[int, ...]
    stop: tuple[int, ...]
    score: str
    value: float

    @property
    def badness(self) -> float:
        """How bad it is, 0 as good as can be: an error itself, what is lacking of a score up to 1."""
        return 1.0 - self.value if self.score == "dice" else self.value

    @property
    def key(self) -> str:
        """What it is known by when the run is scored anew."""
        bounds = ",".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))
        return f"{self.output} {self.record} {bounds}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        region = [[a, b] for a, b in zip(self.start, self.stop, strict=True)]
        return {
            "output": self.output,
            "image": self.record,
            "region": region,
            "score": self.score,
            "value": self.value,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        start, stop = zip(*value["region"], strict=True)
        return cls(value["output"], value["image"], start, stop, value["score"], float(value["value"]))


def worst_patches(run: RunFolder) -> tuple[WorstPatch, ...]:
    """Return the worst patches of the validation part, output by output; none where none is known.

    Those of the scores after a training, or of the last validation where the run trained since.

    Raises
    ------
    RunError
        When the file that says so is damaged.
    """
    path, said = max((_said(run, name) for name in (_INDEX, _LIVE)), key=lambda found: found[1][0])
    try:
        return tuple(WorstPatch.from_dict(one) for one in said[1])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: the list of worst patches is damaged ({error!r}); score the run again with segtrain "
            f"evaluate {run.path} --split {_PART}"
        ) from error


def _said(run: RunFolder, name: str) -> tuple[Path, tuple[str, Any]]:
    """Return a file with its date and its list; without a date where there is none."""
    path = run.evaluation / name
    if not path.is_file():
        return path, ("", ())
    said: Any = read_json(path)
    found = said.get(_PART) if isinstance(said, dict) else None
    if not isinstance(found, dict):
        return path, ("", ())
    return path, (str(found.get("date", "")), found.get("worst", ()))


def write_worst(run: RunFolder, patches: Sequence[WorstPatch], epoch: int) -> None:
    """Write the worst patches of a validation, in the place of those of an earlier one.

    Raises
    ------
    RunError
        When the run folder cannot be written.
    """
    run.evaluation.mkdir(exist_ok=True)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    worst = [patch.to_dict() for patch in patches]
    write_json(run.evaluation / _LIVE, {_PART: {"date": date, "epoch": epoch, "worst": worst}})


def read_done(run: RunFolder) -> frozenset[str]:
    """Return the keys of the patches that were seen to; none where that is not known."""
    try:
        return frozenset(read_json(run.evaluation / _DONE))
    except (RunError, TypeError):
        return frozenset()


def write_done(run: RunFolder, keys: Collection[str]) -> None:
    """Remember which patches were seen to.

    Raises
    ------
    RunError
        When the run folder cannot be written.
    """
    write_json(run.evaluation / _DONE, sorted(keys))
