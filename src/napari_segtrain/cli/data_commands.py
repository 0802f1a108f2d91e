"""``segtrain plan``, ``check`` and ``doctor``: what would happen, before anything is trained."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from napari_segtrain.config import ConfigError, ExperimentConfig, load_config

from .options import flag, origin_of, sizes, with_flags
from .terminal import make_console, print_lines, print_titled

Input = Annotated[Path, typer.Option("-i", "--input", help="Data folder.")]
ConfigPath = Annotated[Path | None, typer.Option("--config-path", help="Experiment as a YAML file.")]


def experiment(config_path: Path | None, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Return the experiment of a file, or the defaults, with those overrides that are not None."""
    config = load_config(config_path) if config_path is not None else ExperimentConfig()
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    return config.with_overrides(given, "command line")


def plan(
    input: Input,
    config_path: ConfigPath = None,
    patch_size: Annotated[str | None, flag("tr_config.patch_size", "--patch-size")] = None,
    batch_size: Annotated[int | None, flag("tr_config.batch_size", "--batch-size")] = None,
    device: Annotated[str | None, flag("tr_setup.device", "--device")] = None,
    devices: Annotated[int | None, flag("tr_setup.devices", "--devices")] = None,
    num_nodes: Annotated[int | None, flag("tr_setup.num_nodes", "--num-nodes")] = None,
) -> None:
    """Show the network that would be trained, its patch size, memory and time."""
    from napari_segtrain import network, workflow
    from napari_segtrain.data import open_dataset

    overrides = {
        "tr_config.patch_size": sizes(patch_size, "--patch-size"),
        "tr_config.batch_size": batch_size,
        "tr_setup.device": device,
        "tr_setup.devices": devices,
        "tr_setup.num_nodes": num_nodes,
    }
    config = experiment(config_path, overrides)
    dataset = open_dataset(str(input), config.dataset_config)
    options = any(value is not None for value in overrides.values())
    reviewed = workflow.review(config, dataset, origin_of(config_path, options))
    resolved = reviewed.checked()
    console = make_console()
    print_titled(console, "Note", "yellow", (*reviewed.report.warnings, *resolved.messages))
    stages = Table(title="Network", title_justify="left")
    for column in ("stage", "features", "kernel", "stride", "encoder blocks"):
        stages.add_column(column, justify="right")
    made = resolved.plan
    for stage in range(made.stages):
        stages.add_row(
            str(stage),
            str(made.features[stage]),
            "×".join(map(str, made.kernel_sizes[stage])),
            "×".join(map(str, made.strides[stage])),
            str(made.blocks_per_stage[stage]),
        )
    console.print(stages)
    memory = network.estimate_memory(made, resolved.batch_size) / 2**30
    seconds = network.step_seconds(made, resolved.batch_size)
    epochs = config.tr_config.num_epochs
    steps = resolved.steps_per_epoch
    length = f"{epochs} epochs of {steps} steps" if steps else f"{epochs} epochs"
    outputs = ", ".join(f"{head.name} ({head.out_channels})" for head in resolved.heads)
    lines = (
        f"patch size      {','.join(map(str, made.patch_size))}",
        f"spacing         {','.join(f'{s:g}' for s in made.spacing)}",
        f"batch size      {resolved.batch_in_words}",
        f"input channels  {made.in_channels}",
        f"outputs         {outputs}",
        f"decoders        {len(made.decoders)} ({config.network.decoders})",
        f"parameters      {network.count_parameters(made) / 1e6:.2f} million",
        f"memory          {memory:.2f} GiB for a training step",
        f"time            {seconds:.2f} s a step on this processor, estimated; {length}",
    )
    print_lines(console, lines)


def check(input: Input, config_path: ConfigPath = None) -> None:
    """List every fault of images, labels, masks and experiment, and the split; exit code 2 for a fault."""
    from napari_segtrain import training, workflow
    from napari_segtrain.data import describe_split, open_dataset
    from napari_segtrain.targets import resolve_targets

    config = experiment(config_path)
    dataset = open_dataset(str(input), config.dataset_config)
    reviewed = workflow.review(config, dataset, origin_of(config_path, False))
    report = reviewed.report
    notes = [*report.warnings, *(reviewed.resolved.messages if reviewed.resolved is not None else ())]
    console = make_console()
    print_titled(console, "Note", "yellow", notes)
    print_titled(console, "Fault", "red", report.errors)
    summary = f"{_count(len(report.errors), 'fault')}, {_count(len(notes), 'note')}."
    if reviewed.resolved is not None:
        facts = reviewed.resolved.facts
        images, channels = _count(len(dataset.records), "image"), _count(facts.in_channels, "channel")
        targets = resolve_targets(reviewed.config, facts)
        kinds = ", ".join(f"{name} ({target.kind})" for name, target in targets.items())
        found = f"{images}, {facts.ndim}D, {channels}; targets: {kinds}."
        summary = f"{found} {summary}"
    print_lines(console, [summary])
    if reviewed.resolved is not None and report.ok:
        split = training.planned_split(reviewed.config, dataset, reviewed.resolved)
        origin = "split.json" if dataset.split_file is not None else "train_split and seed"
        lines = describe_split(dataset, split)
        print_lines(console, [f"Split by {origin}:", *(f"  {line}" for line in lines)])
    if report.errors:
        sys.exit(2)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def doctor(
    input: Annotated[
        Path | None, typer.Option("-i", "--input", help="Data folder that an experiment is looked at with.")
    ] = None,
    config_path: ConfigPath = None,
) -> None:
    """Say what hardware torch sees; with data, what speaks against a training and which flag helps."""
    if config_path is not None and input is None:
        raise ConfigError("--config-path needs the data that it is for: give it with -i")
    _hardware()
    if input is not None:
        _diagnosis(experiment(config_path), input, origin_of(config_path, False))


def _diagnosis(config: ExperimentConfig, data: Path, origin: str) -> None:
    from napari_segtrain import workflow

    findings = workflow.diagnose(config, str(data), origin).findings
    console = make_console()
    colours = {"fault": ("Fault", "red"), "warning": ("Warning", "yellow"), "note": ("Note", "cyan")}
    for finding in findings:
        print_titled(console, *colours[finding.severity], [with_flags(finding)])
    kinds = [finding.severity for finding in findings]
    counted = [_count(kinds.count(kind), kind) for kind in ("fault", "warning", "note")]
    print_lines(console, [f"{', '.join(counted)}."])
    if "fault" in kinds:
        sys.exit(2)


def _hardware() -> None:
    import platform

    import torch

    from napari_segtrain import __version__
    from napari_segtrain.data.ram import main_memory
    from napari_segtrain.network import Inventory, cannot_compile

    have = Inventory.of_this_machine()
    gpus = [torch.cuda.get_device_properties(index) for index in range(have.gpus)]
    compiler = cannot_compile("cpu")
    findings = [
        ("napari-segtrain", __version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        ("memory", f"{main_memory().free / 2**30:.1f} GiB free"),
        ("CUDA", f"off: {have.why_no_gpu}" if not gpus else f"{len(gpus)} GPU(s)"),
        *((f"  cuda:{i}", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB") for i, gpu in enumerate(gpus)),
        ("Apple GPU", "ready" if have.mps else f"off: {have.why_no_mps}"),
        ("compile", f"off: {compiler}" if compiler else "ready"),
    ]
    print_lines(make_console(), [f"{topic:<18}{finding}" for topic, finding in findings])
