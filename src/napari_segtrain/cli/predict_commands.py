"""``segtrain predict``, ``segtrain evaluate`` and ``segtrain report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from napari_segtrain.config import CancelledError, ConfigError

from .options import PREDICT_KEYS, READING_KEYS, flag, given, run_flag, sizes
from .terminal import make_console, print_lines

MIRRORING = "--mirroring/--no-mirroring"
INSTANCES = "--instances/--no-instances"


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder or checkpoint file.")],
    input: Annotated[Path, typer.Option("-i", "--input", help="Image, Zarr store, or folder of images.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output-path",
            help="Folder for <image>_<target>.tif. For a Zarr store, or where the name ends in .zarr, a Zarr "
            "store.",
        ),
    ],
    checkpoint: Annotated[str | None, run_flag("inference_config.checkpoint", "--checkpoint")] = None,
    tile_size: Annotated[str | None, run_flag("inference_config.tile_size", "--tile-size")] = None,
    overlap: Annotated[float | None, run_flag("inference_config.overlap", "--overlap")] = None,
    blending: Annotated[str | None, run_flag("inference_config.blending", "--blending")] = None,
    batch_size: Annotated[int | None, run_flag("inference_config.batch_size", "--batch-size")] = None,
    mirroring: Annotated[bool | None, run_flag("inference_config.mirroring", MIRRORING)] = None,
    resample: Annotated[
        bool | None, run_flag("inference_config.resample", "--resample/--no-resample")
    ] = None,
    skip_empty: Annotated[
        bool | None, run_flag("inference_config.skip_empty", "--skip-empty/--no-skip-empty")
    ] = None,
    targets: Annotated[str | None, run_flag("inference_config.targets", "--targets")] = None,
    output_kind: Annotated[str | None, run_flag("inference_config.output", "--output")] = None,
    instances: Annotated[bool | None, run_flag("inference_config.instances", INSTANCES)] = None,
    threshold: Annotated[float | None, run_flag("inference_config.threshold", "--threshold")] = None,
    seed_threshold: Annotated[
        float | None, run_flag("inference_config.seed_threshold", "--seed-threshold")
    ] = None,
    seed_distance: Annotated[
        float | None, run_flag("inference_config.seed_distance", "--seed-distance")
    ] = None,
    min_size: Annotated[int | None, run_flag("inference_config.min_size", "--min-size")] = None,
    strategy: Annotated[str | None, run_flag("inference_config.strategy", "--strategy")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Spread a Zarr store over so many processes started here."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", help="Spread it over the workers of this dask scheduler: address or file."
        ),
    ] = None,
    channel_axis: Annotated[int | None, run_flag("dataset_config.channel_axis", "--channel-axis")] = None,
    level: Annotated[int | None, run_flag("dataset_config.level", "--level")] = None,
    device: Annotated[str, flag("tr_setup.device", "--device")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace predictions that are there, whatever their settings.")
    ] = False,
) -> None:
    """Predict an image, a folder of images, or a Zarr store of any size.

    Settings that are not given are those of the run. What was interrupted goes on where the same command is
    given again.
    """
    from napari_segtrain import workflow
    from napari_segtrain.inference import few_threads_for_chunks
    from napari_segtrain.runs.control import Control

    from .progress import TerminalProgress, stop_on_signal

    values: dict[str, Any] = {
        **locals(),
        "tile_size": sizes(tile_size, "--tile-size"),
        "targets": tuple(part.strip() for part in targets.split(",")) if targets else None,
        "output": output_kind,
    }
    few_threads_for_chunks()
    console = make_console()
    control = Control()
    with stop_on_signal(control), TerminalProgress(console) as progress:
        written = workflow.predict_files(
            run,
            input,
            output,
            overrides=given(PREDICT_KEYS, values),
            reading=given(READING_KEYS, values),
            device=device,
            overwrite=overwrite,
            workers=workers,
            scheduler=scheduler,
            emit=progress,
            control=control,
        )
    print_lines(console, map(str, written.paths))
    if written.cancelled:
        raise CancelledError(
            "interrupted; the same command goes on: a store at the next block, TIFF files at the next image"
        )


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    split: Annotated[str, typer.Option("--split", help="Part of the data: train, val or test.")] = "test",
    checkpoint: Annotated[
        str | None, run_flag("inference_config.checkpoint", "--checkpoint", "--which")
    ] = None,
    input: Annotated[
        Path | None, typer.Option("-i", "--input", help="Data folder, when it was moved since training.")
    ] = None,
    overlap: Annotated[float | None, run_flag("inference_config.overlap", "--overlap")] = None,
    mirroring: Annotated[bool | None, run_flag("inference_config.mirroring", MIRRORING)] = None,
    threshold: Annotated[float | None, run_flag("inference_config.threshold", "--threshold")] = None,
    seed_threshold: Annotated[
        float | None, run_flag("inference_config.seed_threshold", "--seed-threshold")
    ] = None,
    seed_distance: Annotated[
        float | None, run_flag("inference_config.seed_distance", "--seed-distance")
    ] = None,
    min_size: Annotated[int | None, run_flag("inference_config.min_size", "--min-size")] = None,
    device: Annotated[str, flag("tr_setup.device", "--device")] = "auto",
) -> None:
    """Score a run on a part of its data; prints a table, writes evaluation/ and report.html.

    Settings that are not given are those of the run.
    """
    from napari_segtrain import workflow
    from napari_segtrain.runs.control import Control

    from .progress import TerminalProgress, stop_on_signal

    if split not in ("train", "val", "test"):
        raise ConfigError(f"--split {split!r} is not a part of the data. Allowed: train, val, test.")
    console = make_console()
    control = Control()
    overrides = given(PREDICT_KEYS, locals())
    with stop_on_signal(control), TerminalProgress(console) as progress:
        found = workflow.evaluate(
            run,
            cast(Literal["train", "val", "test"], split),
            data=None if input is None else str(input),
            overrides=overrides,
            device=device,
            emit=progress,
            control=control,
        )
    report = workflow.write_report(run)
    print_lines(console, [found.table(), f"written to {found.path}", f"report: {report}"])


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, of a run in any state.")],
) -> None:
    """Write the report.html of a run from what is in its folder, and print where it is.

    Trainings and evaluations write it too; this is for a run whose process was killed, or that still runs.
    """
    from napari_segtrain import workflow

    print_lines(make_console(), [str(workflow.write_report(run))])
