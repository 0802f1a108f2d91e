"""``segtrain label-next``: where labels would help a network most."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from napari_segtrain.config import RunError

from .options import flag, sizes
from .run_commands import aligned
from .terminal import make_console, print_lines

if TYPE_CHECKING:
    from napari_segtrain.inference import Doubtful
    from napari_segtrain.workflow.suggestions import By


def label_next(
    run: Annotated[Path, typer.Argument(help="Run folder, also of a run in training, or checkpoint file.")],
    input: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--input",
            help="Image, folder of images, or data folder, whose labels are then left out; by default what "
            "the run is trained on.",
        ),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many regions at most.")] = 20,
    size: Annotated[
        str | None,
        typer.Option("--size", help="Size of a region, such as 64,64; by default half the training patch."),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="What counts: all, or one of unsure (entropy), outputs (that contradict each other), "
            "mirrors (another answer for the mirrored image).",
        ),
    ] = "all",
    targets: Annotated[
        str | None, typer.Option("--targets", help="Targets that count, with commas between; all by default.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the regions to this CSV file too.")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="Weights of a run: last (newest) or best.")
    ] = "last",
    device: Annotated[str, flag("tr_setup.device", "--device")] = "auto",
) -> None:
    """Rank the regions that a network doubts most and that have no labels yet, best first.

    Where the run validates or tests, nothing is proposed.
    """
    from typing import Literal

    from napari_segtrain import workflow
    from napari_segtrain.config import ConfigError
    from napari_segtrain.runs.control import Control

    from .progress import TerminalProgress, stop_on_signal

    if checkpoint not in ("last", "best"):
        raise ConfigError(f"--checkpoint {checkpoint!r} is not one of a run. Allowed: last, best.")
    console, control = make_console(), Control()
    with stop_on_signal(control), TerminalProgress(console) as progress:
        found = workflow.label_next(
            run,
            input,
            number=number,
            size=sizes(size, "--size"),
            by=cast("By", by),
            targets=tuple(part.strip() for part in targets.split(",")) if targets else (),
            checkpoint=cast(Literal["best", "last"], checkpoint),
            device=device,
            emit=progress,
            control=control,
        )
    rows = [_row(rank, region) for rank, region in enumerate(found.regions, start=1)]
    if rows:
        cells = [(*row[:4], box_text(row[4], row[5]), row[6]) for row in rows]
        print_lines(console, aligned([("rank", "score", "image", "target", "region", "why"), *cells]))
    if found.words:
        print_lines(console, [found.words])
    if output is not None:
        _write(output, rows)
        print_lines(console, [str(output)])


def _row(rank: int, region: Doubtful) -> tuple[str, ...]:
    from napari_segtrain.inference import WORDS

    start, stop = (" ".join(map(str, side)) for side in (region.start, region.stop))
    return (
        str(rank), f"{region.score:.4f}", region.record, region.target, start, stop, WORDS[region.reason]
    )  # fmt: skip


def box_text(start: str, stop: str) -> str:
    """Return ``0:64, 8:72`` of ``0 8`` and ``64 72``."""
    return ", ".join(f"{a}:{b}" for a, b in zip(start.split(), stop.split(), strict=True))


def _write(path: Path, rows: list[tuple[str, ...]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("rank", "score", "image", "target", "start", "stop", "reason"))
            writer.writerows(rows)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); choose another file"
        ) from None
