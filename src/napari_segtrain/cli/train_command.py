"""``segtrain train``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from napari_segtrain.config import ConfigError, ExperimentConfig, TrainingError, load_config

from .options import TRAIN_KEYS, assignments, flag, given, losses, origin_of, sizes
from .terminal import make_console, print_lines


def train(
    input: Annotated[
        Path | None,
        typer.Option("-i", "--input", help="Data folder: images/ and labels/, or layers saved by napari."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Project folder; the run is made in its runs/.")
    ] = None,
    config_path: Annotated[
        Path | None, typer.Option("--config-path", help="Experiment as a YAML file; flags override its keys.")
    ] = None,
    format: Annotated[str | None, flag("dataset_config.format", "--format")] = None,
    batch_size: Annotated[int | None, flag("tr_config.batch_size", "--batch-size")] = None,
    patch_size: Annotated[str | None, flag("tr_config.patch_size", "--patch-size")] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            "--loss",
            help="Loss, Loss,Loss or [Loss, Loss] for every target, or target=Loss,Loss. Given again, terms "
            "add up; a target that is named has its own only.",
        ),
    ] = None,
    train_split: Annotated[float | None, flag("tr_setup.train_split", "--train-split")] = None,
    folds: Annotated[int | None, flag("tr_setup.folds", "--folds")] = None,
    fold: Annotated[int | None, flag("tr_setup.fold", "--fold")] = None,
    loss_on_label_only: Annotated[
        bool | None, flag("tr_config.loss_on_label_only", "--loss-on-label-only/--no-loss-on-label-only")
    ] = None,
    lr: Annotated[float | None, flag("tr_config.optimizer.lr", "--lr")] = None,
    num_epochs: Annotated[int | None, flag("tr_config.num_epochs", "--num-epochs")] = None,
    steps_per_epoch: Annotated[int | None, flag("tr_config.steps_per_epoch", "--steps-per-epoch")] = None,
    stop_after: Annotated[
        int | None,
        typer.Option("--stop-after", min=1, help="Interrupt the run after this epoch; it can be resumed."),
    ] = None,
    max_time: Annotated[float | None, flag("tr_config.max_time", "--max-time")] = None,
    seed: Annotated[int | None, flag("tr_setup.seed", "--seed")] = None,
    model_name: Annotated[str | None, flag("tr_setup.model_name", "--model-name")] = None,
    run_name: Annotated[str | None, flag("tr_setup.run_name", "--run-name")] = None,
    device: Annotated[str | None, flag("tr_setup.device", "--device")] = None,
    devices: Annotated[int | None, flag("tr_setup.devices", "--devices")] = None,
    num_nodes: Annotated[int | None, flag("tr_setup.num_nodes", "--num-nodes")] = None,
    strategy: Annotated[str | None, flag("tr_setup.strategy", "--strategy")] = None,
    num_workers: Annotated[int | None, flag("tr_setup.num_workers", "--num-workers")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other key: section.key=value; may be given again.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Run folder that is continued where it stopped.")
    ] = None,
    changed_data: Annotated[
        bool,
        typer.Option("--changed-data", help="With --resume: go on though files of the data have changed."),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end of the project's active run, do not refuse.")
    ] = False,
) -> None:
    """Train a network on labelled images."""
    values: dict[str, Any] = {**locals(), "patch_size": sizes(patch_size, "--patch-size")}
    overrides = {**given(TRAIN_KEYS, values), **assignments(set_)}
    if resume is None and (input is None or output is None):
        raise ConfigError("give the data with -i and the project folder with -o, or a run with --resume")
    console = make_console()
    if resume is not None:
        not_now = {"--config-path": config_path, "--loss": loss, "--run-name": run_name, "--format": format}
        if unfit := [name for name, value in not_now.items() if value]:
            raise ConfigError(
                "--resume continues a run with its own configuration and name: leave out "
                + " and ".join(unfit)
            )
        if output is not None and not resume.resolve().is_relative_to(output.resolve()):
            raise ConfigError(f"--resume {resume} is no run of the project {output}: leave out -o")
        with _flags_that_fit():
            result = _resume(resume, input, overrides, stop_after, changed_data, wait, console)
        finish(result, console)
        return
    config = load_config(config_path) if config_path is not None else ExperimentConfig()
    config = config.with_overrides(overrides, "command line")
    origin = origin_of(config_path, bool(overrides or loss))
    with _flags_that_fit():
        result = _start(config, origin, overrides, loss, input, output, stop_after, wait, console)
    finish(result, console)


@contextmanager
def _flags_that_fit() -> Iterator[None]:
    """Add the flags to try next to the message of a training that ran out of memory."""
    try:
        yield
    except TrainingError as error:
        fitting = getattr(error, "fitting", None)
        if fitting is None:
            raise
        patch = ",".join(map(str, fitting.patch_size))
        flags = f"--patch-size {patch} --batch-size {fitting.batch_size}"
        raise TrainingError(f"{error}\nTry again with: {flags}") from error


def _start(
    config: ExperimentConfig,
    origin: str,
    overrides: dict[str, Any],
    loss: list[str] | None,
    data: Path | None,
    project: Path | None,
    stop_after: int | None,
    wait: bool,
    console: Console,
) -> Any:
    from napari_segtrain import workflow
    from napari_segtrain.data import open_dataset
    from napari_segtrain.runs.control import Control

    from .progress import TerminalProgress, stop_on_signal

    dataset = open_dataset(str(data), config.dataset_config)
    if loss:
        config = workflow.complete_targets(config, dataset)
        names = list(config.dataset_config.targets), list(config.auxiliary_tasks)
        config = config.with_overrides(losses(loss, *names), "--loss")
    control = Control()
    with stop_on_signal(control), TerminalProgress(console) as progress:
        return workflow.train(
            config,
            dataset,
            str(project),
            overrides={**overrides, **({"loss": ",".join(loss)} if loss else {})},
            origin=origin,
            stop_after=stop_after,
            wait=wait,
            emit=progress,
            control=control,
        )


def _resume(
    run: Path,
    data: Path | None,
    overrides: dict[str, Any],
    stop_after: int | None,
    changed_data: bool,
    wait: bool,
    console: Console,
) -> Any:
    from napari_segtrain import workflow
    from napari_segtrain.runs.control import Control

    from .progress import TerminalProgress, stop_on_signal

    control = Control()
    with stop_on_signal(control), TerminalProgress(console) as progress:
        return workflow.resume(
            run,
            data=None if data is None else str(data),
            overrides=overrides,
            stop_after=stop_after,
            changed_data=changed_data,
            wait=wait,
            emit=progress,
            control=control,
        )


def finish(result: Any, console: Console) -> None:
    """Say how the run ended, and exit with the code that belongs to it."""
    if not result.leads:
        sys.exit()
    report = result.path / "report.html"
    lines = [f"{result.status.value}: {result.path}", result.message]
    lines += [f"report: {report}"] if report.is_file() else []
    print_lines(console, [line for line in lines if line])
    codes = {"completed": 0, "interrupted": 130}
    sys.exit(codes.get(result.status.value, 1))
