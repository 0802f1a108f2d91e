"""``segtrain``: the command line."""

from __future__ import annotations

import os
import sys

import typer

from napari_segtrain.config import CancelledError, SegtrainError

from .data_commands import check, doctor, plan
from .demo_command import demo
from .label_command import label_next
from .predict_commands import evaluate, predict, report
from .preview_commands import preview_augmentation, preview_targets
from .run_commands import compare, delete, duplicate, follow, labels, retry, runs, stop
from .serve_command import serve
from .train_command import train
from .workflow_commands import app as workflow

app = typer.Typer(
    name="segtrain",
    help="Train a network on painted labels, predict with it, score it. The same experiment runs in napari.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command, summary in (
    (train, "Train a network on labelled images."),
    (predict, "Predict images, folders, Zarr stores of any size."),
    (evaluate, "Score a run on a part of its data."),
    (report, "Write the report.html of a run."),
    (label_next, "Rank regions worth labelling next."),
    (runs, "List the runs of a project."),
    (follow, "Print what a run announces, until it ends."),
    (compare, "Show in what runs differ, and their results."),
    (retry, "Train a failed run from its begin."),
    (duplicate, "Make a new run with another's settings."),
    (labels, "Write the labels a run was trained on."),
    (stop, "Ask a running run to stop."),
    (delete, "Delete a run; asks first."),
    (serve, "Serve the runs of a project over HTTP."),
    (plan, "Show the network, its memory and time."),
    (preview_targets, "Show what the network would be taught, as files."),
    (preview_augmentation, "Show what augmentation makes of a patch, as files."),
    (check, "List every fault, and show the split."),
    (doctor, "Say what hardware there is and what may go wrong."),
    (demo, "Train on an embedded picture, predict, score."),
):
    app.command(command.__name__.replace("_", "-"), short_help=summary)(command)
app.add_typer(workflow, short_help="Check and run graphs of nodes.")

REFUSED = 2
"""Exit code when something cannot work, before or after it began."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells use it."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit.

    Exit codes: 0 done; 2 something given cannot work, or a run failed after it began (the message says what
    and why); 1 a fault of the program, with its traceback; 130 stopped by Ctrl-C or SIGTERM, resumable.
    """
    # Threads of torch that wait by spinning starve each other when anything else runs on the machine; the
    # variable counts only when it is set before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        app(args=arguments, prog_name="segtrain")
    except CancelledError as error:
        typer.echo(str(error), err=True)
        sys.exit(INTERRUPTED)
    except SegtrainError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
