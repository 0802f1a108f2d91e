"""Writes docs/reference.md, the list of all configuration keys and losses, from schema and tables themselves.

Run it after a change in `config/` or `losses/`: ``python tools/make_reference.py``. A test fails while the
file is stale.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.config.validation import _flatten
from napari_segtrain.losses import LOSSES, loss_settings
from napari_segtrain.targets.head import Encoding
from napari_segtrain.workflow.graph import NODE_TYPES, Port

REFERENCE = Path(__file__).parent.parent / "docs" / "reference.md"

HEAD = """\
# Configuration reference

Generated from the schema by `tools/make_reference.py`; do not edit. Every key of an experiment's YAML
file, with its default, its bounds and what it does. Sections and keys that are left out have their defaults.
The [losses](#losses) and what they serve are at the end.
"""

LOSS_HEAD = """\

## Losses

What `losses` of a target or an auxiliary task may name, with the settings for `kwargs` and their defaults.
Every loss works in 2D and 3D and looks at labelled voxels only. One that cannot serve an output says why, and
which losses can. Outputs: a target's is called after its kind, those of `instances` are `binary`, `boundary`
and `centre_distance`, and that of an auxiliary task is called after its type. Equations and sources stand in
the classes: `help(napari_segtrain.losses.create("clDice"))`.

| loss | what it is | serves | settings |
|---|---|---|---|\
"""


NODE_HEAD = """\

## Nodes of workflows

What a [workflow](how-to/workflow.md) is made of. A parameter that an experiment has too is that key, with its
bounds and its default; a link is legal when types are equal, or one is ANY.

| node | what it does | inputs | outputs | parameters |
|---|---|---|---|---|\
"""


def type_name(annotation: Any) -> str:
    """Return an annotation as a reader of YAML would say it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        names = [type_name(a) for a in arguments if a is not type(None)]
        empty = " or empty" if type(None) in arguments else ""
        return ", ".join(names) + empty
    if origin is tuple:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"mapping of {type_name(arguments[1])}"
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if annotation in words:
        return words[annotation]
    return f"[{annotation.__name__}](#{annotation.__name__.lower()})"


def bounds(field: FieldInfo) -> str:
    """Return the bounds of a number, such as ``≥ 0, < 1``."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = []
    for limit in field.metadata:
        for name, sign in signs.items():
            value = getattr(limit, name, None)
            if value is not None:
                found.append(f"{sign} {value if isinstance(value, int) else format(value, 'g')}")
    return ", ".join(found)


def default_text(field: FieldInfo) -> str:
    """Return a default as YAML would spell it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)  # type: ignore[call-arg]
    if value is None or value in ((), {}):
        return "empty"
    if isinstance(value, BaseModel):
        return f"`{getattr(value, 'name', type(value).__name__)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def rows(model: type[BaseModel]) -> Iterator[str]:
    """Yield a table row for each key of a section."""
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        kind = type_name(field.annotation)
        limits = bounds(field)
        unit = f" [{extra['unit']}]" if extra.get("unit") else ""
        text = f"{kind}{unit}{'; ' + limits if limits else ''}"
        yield f"| `{field.alias or name}` | {text} | {default_text(field)} | {field.description or ''} |"


def sections(model: type[BaseModel], seen: set[type]) -> Iterator[type[BaseModel]]:
    """Yield every model below `model` once, in reading order."""
    for field in model.model_fields.values():
        for inner in _flatten(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel) and inner not in seen:
                seen.add(inner)
                yield inner
                yield from sections(inner, seen)


def setting_text(value: Any) -> str:
    """Return a loss's default as YAML would spell it."""
    return "empty" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def loss_rows() -> Iterator[str]:
    """Yield a table row for each loss."""
    for name, spec in LOSSES.items():
        serves = ", ".join(f"`{encoding}`" for encoding in get_args(Encoding) if encoding in spec.encodings)
        settings = ", ".join(f"`{key}: {setting_text(value)}`" for key, value in loss_settings(name).items())
        yield f"| `{name}` | {spec.summary} | {serves} | {settings or 'none'} |"


def ports_text(ports: tuple[Port, ...]) -> str:
    """Return the ports of a side with their types."""
    texts = [f"`{port.label}`" for port in ports]
    return ", ".join(texts) or "none"


def node_rows() -> Iterator[str]:
    """Yield a table row for each kind of node."""
    for name, kind in NODE_TYPES.items():
        # Which network it is the node says already.
        given = ", ".join(f"`{key}`" for key in kind.config.model_fields if key != "architecture")
        sides = f"{ports_text(kind.inputs)} | {ports_text(kind.outputs)}"
        yield f"| `{name}` | {kind.text} | {sides} | {given or 'none'} |"


def reference() -> str:
    """Return the whole page."""
    lines = [HEAD, "| section | holds |", "|---|---|"]
    for name, field in ExperimentConfig.model_fields.items():
        lines.append(f"| `{field.alias or name}` | {type_name(field.annotation)} |")
    for model in sections(ExperimentConfig, set()):
        lines += ["", f"## {model.__name__}", "", (model.__doc__ or "").strip().splitlines()[0], ""]
        lines += ["| key | value | default | what it does |", "|---|---|---|---|", *rows(model)]
    lines += [LOSS_HEAD.rstrip("\n"), *loss_rows(), NODE_HEAD.rstrip("\n"), *node_rows()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{REFERENCE} written\n")
