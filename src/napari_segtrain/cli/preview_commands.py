"""``segtrain preview-targets`` and ``preview-augmentation``: what a network would see, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from napari_segtrain.config import ConfigError

from .data_commands import ConfigPath, Input, experiment
from .terminal import make_console, print_lines

Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")]
ImageName = Annotated[
    str | None, typer.Option("--image", help="Name of the image; by default the most labelled one.")
]


def preview_targets(
    input: Input,
    output: Output,
    config_path: ConfigPath = None,
    image: ImageName = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            help="start:stop for each axis in array order, such as 0:64,0:64,0:64; by default the "
            "most labelled patch.",
        ),
    ] = None,
) -> None:
    """Write the targets that labels become, each as TIFF with its mask, and a picture of all of them."""
    from napari_segtrain import workflow

    config = experiment(config_path)
    preview = workflow.preview_targets(config, str(input), image=image, region=bounds(region))
    paths = workflow.write_target_preview(preview, output)
    console = make_console()
    table = Table("target", "kind", "channels", "range", "loss looks at")
    for column in table.columns:
        column.no_wrap = True
    for target in preview.targets:
        known = target.values[:, target.valid]
        span = f"{known.min():.3g} … {known.max():.3g}" if known.size else "nothing known"
        table.add_row(
            target.head.name,
            target.head.encoding.replace("_", " "),
            str(target.head.out_channels),
            span,
            f"{target.valid.mean():.1%}",
        )
    console.print(table)
    shown = preview.region
    print_lines(console, [_where(shown.record, shown.start, shown.stop), *map(str, paths)])


def preview_augmentation(
    input: Input,
    output: Output,
    config_path: ConfigPath = None,
    image: ImageName = None,
    number: Annotated[int, typer.Option("--number", help="How many augmented patches, 1 to 64.")] = 8,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another one draws anew; by default the run's.")
    ] = None,
) -> None:
    """Write the most labelled patch as it is and as augmentation changes it: TIFF files, and a picture."""
    from napari_segtrain import workflow

    config = experiment(config_path)
    preview = workflow.preview_augmentation(config, str(input), number=number, seed=seed, image=image)
    paths = workflow.write_augmentation_preview(preview, output)
    console = make_console()
    table = Table("patch", "what was done to it")
    for which, patch in enumerate(preview.patches):
        words = "; ".join(patch.words) or "nothing"
        table.add_row("original" if which == 0 else f"augmented{which}", "" if which == 0 else words)
    console.print(table)
    place = _where(preview.record, preview.start, preview.stop)
    print_lines(console, [place, str(paths[0]), f"{len(paths) - 1} TIFF files"])


def _where(record: str, start: Sequence[int], stop: Sequence[int]) -> str:
    return f"{record} at [{', '.join(f'{a}:{b}' for a, b in zip(start, stop, strict=True))}]"


def bounds(text: str | None) -> list[tuple[int, int]] | None:
    """Parse ``"0:64,16:80"``.

    Raises
    ------
    ConfigError
        When a part is not two whole numbers with a colon between them.
    """
    if text is None:
        return None
    found = []
    for part in text.split(","):
        start, colon, stop = part.partition(":")
        if not (colon and start.strip().isdigit() and stop.strip().isdigit()):
            raise ConfigError(
                f"--region {text!r} is not a region: give start:stop for each axis in array order, such as "
                "0:64,128:192,128:192"
            )
        found.append((int(start), int(stop)))
    return found
