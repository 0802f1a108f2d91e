"""``segtrain runs``, ``follow``, ``compare``, ``retry``, ``duplicate``, ``stop`` and ``delete``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated, Any

import typer

from napari_segtrain.config import RunError
from napari_segtrain.runs.compare import compare_runs
from napari_segtrain.runs.find import find_run
from napari_segtrain.runs.folder import RunFolder, runs_folder
from napari_segtrain.runs.info import RunInfo, seconds_running
from napari_segtrain.runs.states import RunState
from napari_segtrain.runs.summary import format_seconds
from napari_segtrain.runs.table import RunRow, run_table

from .options import assignments

EXIT_CODES = {RunState.COMPLETED: 0, RunState.FAILED: 2, RunState.INTERRUPTED: 130}
"""Exit code of a command that saw the end of a run."""

_LONG = 24
"""Letters of a name from which on columns have a letter instead, and the names a legend."""

Run = Annotated[Path, typer.Argument(help="Run folder.")]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Wait for the end of the active run of the project, instead of refusing."),
]
DataNow = Annotated[
    Path | None, typer.Option("-i", "--input", help="Data folder, when it was moved since training.")
]


def runs(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what run.json says of each, as JSON.")
    ] = False,
) -> None:
    """List the runs of a project: state, epochs, best value, time, start."""
    if not project.is_dir():
        raise RunError(f"{project}: there is no such folder; give a project, the folder that holds runs/")
    if project.name == runs_folder("").name and not runs_folder(project).is_dir():
        project = project.resolve().parent
    rows = run_table(project)
    if as_json:
        values = [{"path": str(row.run.path), "fault": row.fault, **_plain(row.info)} for row in rows]
        typer.echo(json.dumps(values, indent=2))
        return
    if not rows:
        typer.echo(f"{project}: no runs yet")
        return
    lines = [_cells(row) for row in rows]
    typer.echo("\n".join(aligned([("name", "state", "epoch", "best", "time", "started"), *lines])))
    for row in rows:
        if row.fault:
            typer.echo(f"Note: {row.fault}", err=True)


def _plain(info: RunInfo | None) -> dict[str, Any]:
    return {} if info is None else json.loads(info.model_dump_json())


def _cells(row: RunRow) -> tuple[str, ...]:
    info = row.info
    if info is None:
        return row.name, "damaged", "", "", "", ""
    seconds = seconds_running(info)
    return (
        row.name,
        info.status.value,
        f"{info.epoch}/{info.num_epochs}" if info.num_epochs else str(info.epoch),
        f"{info.best.monitor} {number(info.best.value)}" if info.best else "",
        format_seconds(seconds) if seconds else "",
        f"{info.started.astimezone():%Y-%m-%d %H:%M}" if info.started else "",
    )


def follow(run: Annotated[Path, typer.Argument(help="Run folder, or a project with a single run.")]) -> None:
    """Print what a run has announced and what it announces, until it ends; Ctrl-C leaves it alone.

    Exit codes are those of the training: 0 completed, 2 failed, 130 interrupted.
    """
    from napari_segtrain.runs import follow as following
    from napari_segtrain.runs.events import Event, Finished

    from .progress import TerminalProgress
    from .terminal import make_console, print_lines, print_titled

    folder = find_run(run)
    console = make_console()
    follower = following.RunFollower(folder)
    end: Event | None = None
    with TerminalProgress(console, status=True) as show:
        for end in following.follow(follower):
            if end is not None:
                show(end)
    if follower.tail.unreadable:
        words = f"{folder.events_path}: {follower.tail.unreadable} lines are damaged and left out"
        print_titled(console, "Note", "yellow", [words])
    if isinstance(end, Finished):
        print_lines(console, [f"{end.status.value}: {folder.path}", *([end.message] if end.message else [])])
        sys.exit(EXIT_CODES[RunState(end.status)])


def compare(runs: Annotated[list[Path], typer.Argument(help="Two or more run folders.")]) -> None:
    """Show in which settings runs differ, and their results side by side."""
    found = compare_runs([find_run(run) for run in runs])
    names = found.names
    if len(names) <= len(ascii_uppercase) and max(map(len, names)) > _LONG:
        names = tuple(ascii_uppercase[: len(names)])
        typer.echo("\n".join([*map("  ".join, zip(names, found.names, strict=True)), ""]))
    for title, table in (("setting", found.settings), ("result", found.metrics)):
        if title == "setting" and not table:
            typer.echo("The settings are the same.\n")
            continue
        lines = [(name, *map(_text, values)) for name, values in table.items()]
        typer.echo("\n".join([*aligned([(title, *names), *lines]), ""]))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(value: float | None) -> str:
    """Return a number with as many digits as tell runs apart."""
    return "undefined" if value is None else f"{value:.6g}"


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return a line for each row, its columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def retry(
    run: Run,
    input: DataNow = None,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="Train though files of the data have changed.")
    ] = False,
    wait: Wait = False,
) -> None:
    """Train a failed or interrupted run from its begin, in the same folder.

    What the attempt before had written is moved to attempts/ in the run folder. To go on where the run
    stopped instead: segtrain train --resume RUN.
    """
    from napari_segtrain import workflow
    from napari_segtrain.runs.control import Control

    from .progress import TerminalProgress, stop_on_signal
    from .terminal import make_console
    from .train_command import finish

    console = make_console()
    control = Control()
    with stop_on_signal(control), TerminalProgress(console) as progress:
        result = workflow.retry(
            run,
            data=None if input is None else str(input),
            changed_data=changed_data,
            wait=wait,
            emit=progress,
            control=control,
        )
    finish(result, console)


def duplicate(
    run: Run,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting to change: section.key=value; may be given again."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the new run; by default after what differs.")
    ] = None,
) -> None:
    """Make a new, pending run with the settings and the data of another."""
    from napari_segtrain.runs.lifecycle import duplicate_run

    new = duplicate_run(find_run(run), name=name, overrides=assignments(set_))
    where = "" if (new.path / "data.json").is_file() else " -i DATA"
    typer.echo(f"pending: {new.path}\nbegin it with: segtrain train --resume {new.path}{where}")


def labels(
    run: Annotated[Path, typer.Argument(help="Run folder, or a checkpoint in it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder for the labels.")],
    epoch: Annotated[
        int | None,
        typer.Option("--epoch", min=0, help="As they were after this epoch; by default the newest."),
    ] = None,
    before_resume: Annotated[
        bool,
        typer.Option(
            "--before-resume",
            help="As they were when the run was last resumed, with what was painted after its last epoch.",
        ),
    ] = False,
) -> None:
    """Write the labels that a run was trained on, as they were then.

    Of a checkpoint those at the time it was written. They are stores labels/<image>_<target>.zarr and
    masks/… in the folder, as training reads them; napari opens them too.
    """
    from napari_segtrain.workflow.labels import restore_labels

    written = restore_labels(run, output, epoch=epoch, before_resume=before_resume)
    typer.echo("\n".join(f"written: {path}" for path in written) or "the run had no labels")


def stop(run: Run) -> None:
    """Ask a running run to stop after the batch it is in, with a checkpoint."""
    from napari_segtrain.runs.lifecycle import stop_run

    folder = find_run(run)
    stop_run(folder)
    typer.echo(f"{folder.path} was asked to stop; segtrain follow {folder.path} shows its end")


def delete(
    run: Run,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a run with its checkpoints, predictions excepted; asks first."""
    from napari_segtrain.runs.lifecycle import delete_run

    folder = RunFolder.open(run)  # a path that only leads to a run is not enough to delete it
    if not yes:
        size = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
        if not typer.confirm(f"Delete {folder.path} ({size / 2**20:.1f} MiB)? There is no way back"):
            typer.echo("nothing was deleted")
            sys.exit(1)
    delete_run(folder)
    typer.echo(f"deleted: {folder.path}")
