"""``segtrain workflow``: graphs of typed nodes, checked, run, and made of experiments."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from napari_segtrain.config import ConfigError, dump_config, load_config
from napari_segtrain.runs.atomic import write_text
from napari_segtrain.runs.control import Control
from napari_segtrain.runs.events import Event, NodeStatus, Progress

from .options import assignments
from .progress import TerminalProgress, describe_seconds, stop_on_signal
from .terminal import make_console, print_lines

if TYPE_CHECKING:
    from napari_segtrain.workflow.graph import Graph

app = typer.Typer(
    name="workflow",
    help="Check and run graphs of nodes; write an experiment as a graph, and back.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

File = Annotated[Path, typer.Argument(metavar="FILE.json", help="A graph.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Parameter of a node: node.parameter=value; may be given again."),
]


_HAVE_RESULTS = ("trainer", "metrics", "repeat")
"""Nodes that write files or give numbers, which are printed."""


@app.command(short_help="Run a graph.")
def run(
    file: File,
    set_: Set = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Node that is wanted, with what it needs; may be given again."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for predictions of the last nodes, as TIFF."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Train again though a run of the same graph and data is there.")
    ] = False,
) -> None:
    """Run a graph, each node after those it depends on."""
    from napari_segtrain.workflow.graph import PortType, execute, find_warnings, refuse_faults

    graph = _with(_read(file), set_)
    console = make_console()
    _notes(console, find_warnings(graph))
    refuse_faults(graph)
    if output is None:
        _notes(console, _unwritten(graph, only or ()))
    control = Control()
    with stop_on_signal(control), _shown(console) as emit:
        found = execute(graph, only=only or (), again=again, emit=emit, control=control)
    lines = []
    for name, values in found.values.items():
        if _is_wanted(graph, name, only or ()):
            ports = [port.name for port in graph.node(name).kind.outputs if port.type != PortType.MODEL]
            lines += _results(name, {port: values[port] for port in ports}, output)
    print_lines(console, lines)


@app.command(short_help="List what is wrong with a graph, and what is doubtful.")
def check(file: File, set_: Set = None) -> None:
    """List what is wrong with a graph, what is doubtful, and what it needs; runs nothing."""
    from napari_segtrain.workflow.graph import checklist, find_warnings, purpose_of, refuse_faults

    graph = _with(_read(file), set_)
    console = make_console()
    _notes(console, find_warnings(graph))
    refuse_faults(graph, str(file))
    lines = [f"{'yes' if line.done else 'no ':3}  {line.text}" for line in checklist(graph)]
    nodes, links = len(graph.nodes), len(graph.links)
    print_lines(console, [*lines, f"{file}: a graph for {purpose_of(graph)}, {nodes} nodes, {links} links"])


@app.command("from-config", short_help="Write an experiment as a graph.")
def from_config(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="An experiment.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The graph's file, .json.")],
    input: Annotated[Path | None, typer.Option("-i", "--input", help="Data folder.")] = None,
    project: Annotated[Path | None, typer.Option("--project", help="Project folder.")] = None,
) -> None:
    """Write the graph that trains an experiment: the same run, and the same weights, as segtrain train."""
    from napari_segtrain.workflow.graph import write_graph
    from napari_segtrain.workflow.graph.from_config import graph_of

    texts = [None if path is None else str(path) for path in (input, project)]
    print_lines(make_console(), [str(write_graph(output, graph_of(load_config(file), *texts)))])


@app.command("to-config", short_help="Write what a graph trains as an experiment.")
def to_config(
    file: File,
    output: Annotated[Path, typer.Option("-o", "--output", help="The experiment's file, .yaml.")],
    set_: Set = None,
) -> None:
    """Write the experiment of a graph's trainer, for segtrain train."""
    from napari_segtrain.workflow.graph.from_config import experiment_of

    recipe = experiment_of(_with(_read(file), set_))
    if recipe.losses or recipe.checkpoint:
        what = "losses of every target" if recipe.losses else "the network of a checkpoint loader"
        raise ConfigError(
            f"{file}: an experiment has no key for {what}: give the losses at the data loader's targets, and "
            "the checkpoint as weights of a network node"
        )
    write_text(output, dump_config(recipe.config))
    print_lines(make_console(), [str(output)])


@app.command(short_help="Write a graph to begin with.")
def new(
    template: Annotated[str, typer.Argument(help="train, predict, evaluate, direct, stepwise or fine_tune.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The graph's file, .json.")],
) -> None:
    """Write a template: a graph for training, prediction, scores, or a training step by step."""
    from napari_segtrain.workflow.graph import template as made
    from napari_segtrain.workflow.graph import write_graph

    print_lines(make_console(), [str(write_graph(output, made(template)))])


def _read(file: Path) -> Graph:
    from napari_segtrain.workflow.graph import read_graph

    return read_graph(file)


def _with(graph: Graph, texts: list[str] | None) -> Graph:
    """Return the graph with the parameters that were given, those of a node all at once."""
    changes: dict[str, dict[str, Any]] = {}
    for dotted, value in assignments(texts, "node.parameter", "trainer.num_epochs=10").items():
        name, parameter, *path = dotted.split(".")
        given = changes.setdefault(name, {})
        if path:
            kept = given[parameter] if parameter in given else _kept(graph, name, parameter)
            for part in reversed(path):
                value = {part: value}
            value = _merged(kept, value) if isinstance(kept, dict) else value
        given[parameter] = value
    for name, given in changes.items():
        graph = graph.configure(name, given)
    return graph


def _kept(graph: Graph, name: str, parameter: str) -> Any:
    return graph.node(name).config.to_dict().get(parameter)


def _merged(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(before[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and isinstance(before.get(name), dict)
    }
    return before | changes | both


def _notes(console: Console, sentences: tuple[str, ...]) -> None:
    print_lines(console, [f"Note: {sentence}" for sentence in sentences])


def _is_wanted(graph: Graph, name: str, only: Collection[str]) -> bool:
    """Return whether what a node gives is told and written: it is one of the last, or was asked for."""
    return not graph.links_from(name) or name in only


def _unwritten(graph: Graph, only: Collection[str]) -> tuple[str, ...]:
    """Return a sentence for each prediction that nothing would keep without ``-o``.

    Raises
    ------
    GraphError
        When there would be no other result.
    """
    from napari_segtrain.workflow.graph import GraphError

    asked = [name for name in only if graph.has(name)]
    runs = graph.upstream(*asked) if only else {node.name for node in graph.nodes}
    found, is_kept = [], False
    for node in (node for node in graph.nodes if node.name in runs):
        saves = getattr(node.config, "save_to", None) is not None
        is_kept |= saves or node.type in _HAVE_RESULTS
        where = ""
        if node.type == "predictor" and not saves:
            where = f"-o FOLDER, or save_to: --set {node.name}.save_to=FOLDER"
        elif graph.link_into(node.name, "input") is not None:
            where = "-o FOLDER; a predictor node also has save_to"
        if where and _is_wanted(graph, node.name, only):
            found.append(
                f"the prediction of node '{node.name}' would be written nowhere: say where with {where}"
            )
    if found and not is_kept:
        raise GraphError.listing(found)
    return tuple(found)


@contextmanager
def _shown(console: Console) -> Iterator[Any]:
    """Show what nodes do, and what their trainings tell."""
    with TerminalProgress(console) as progress:

        def emit(event: Event) -> None:
            if isinstance(event, NodeStatus) and event.fraction is not None:
                text = f"{event.node} {event.message}".strip()
                progress(Progress(fraction=event.fraction, text=text))
            elif isinstance(event, NodeStatus):
                if event.status in ("done", "cached"):
                    took = describe_seconds(event.seconds) if event.seconds >= 1.0 else ""
                    print_lines(console, ["  ".join(filter(None, (event.node, event.status, took)))])
            else:
                progress(event)

        yield emit


def _results(name: str, values: Any, output: Path | None) -> list[str]:
    """Write the predictions of a node, and return lines about what it gave."""
    from napari_segtrain.workflow.graph.work.inference import Predicted, save
    from napari_segtrain.workflow.graph.work.outputs import numbers_of

    lines = []
    for port, value in values.items():
        if output is not None and isinstance(value, Predicted) and port in ("all_predictions", "output"):
            lines += [str(path) for path in save(value, output)]
        numbers = numbers_of(value)
        if "run" in numbers:
            lines.append(f"{name}.{port}: {numbers['run']}")
        elif "history" in numbers:
            last = numbers["history"][-1]
            lines.append(f"{name}.{port}: " + "  ".join(_number(key, last[key]) for key in last))
        elif port == "metrics":
            for target, scores in numbers.items():
                told = [_number(k, v) for k, v in scores.items() if isinstance(v, float)]
                lines.append(f"{name}.{port}: {target}  " + "  ".join(told))
    return lines


def _number(name: str, value: Any) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
