"""``segtrain demo``: the whole road on an image that comes with the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from .terminal import make_console, print_lines


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Project folder that the run is made in.")
    ] = Path("demo"),
    view: Annotated[
        bool, typer.Option("--view", help="Open napari with image, scribbles, prediction and instances.")
    ] = False,
) -> None:
    """Train on scribbles over a picture of coins, predict, separate the coins, and score them."""
    from napari_segtrain import workflow
    from napari_segtrain.runs.control import Control

    from .progress import TerminalProgress, stop_on_signal

    console = make_console()
    control = Control()
    with stop_on_signal(control), TerminalProgress(console) as progress:
        result = workflow.demo(output, emit=progress, control=control)
    lines = (
        f"run      {result.run}",
        f"overlay  {result.overlay}",
        f"score    Dice {result.dice:.3f}, AP50 {result.ap50:.3f}, {result.found} of {result.coins} coins",
    )
    print_lines(console, lines)
    if view:
        # The command line knows nothing of napari: a window is another program.
        window = subprocess.run([sys.executable, "-m", "napari_segtrain.widgets.show", str(result.run)])
        sys.exit(window.returncode)
