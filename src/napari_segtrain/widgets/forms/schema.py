"""What a form needs to know of a configuration key, read from the pydantic model once."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any, Literal

from pydantic.fields import FieldInfo

from ...config import Config, LossConfig

_EMPTY_WORDS = {"unlabelled": "none", "mask": "none", "labels": "none"}
"""Keys of which None means an absence, not a choice that is made later."""


class Shape(Enum):
    """What kind of value a key holds; it decides which editor serves it."""

    BOOL = auto()
    INT = auto()
    FLOAT = auto()
    TEXT = auto()
    CHOICE = auto()
    SEQUENCE = auto()
    MAPPING = auto()
    LOSSES = auto()
    UNION = auto()
    GROUP = auto()


@dataclass(frozen=True)
class Key:
    """One configuration key, as an editor sees it.

    Attributes
    ----------
    name
        The key as the YAML file spells it; also the `objectName` of the control.
    shape
        Which editor serves it.
    optional
        Whether None is a value: empty, shown as "auto".
    title, description, unit, level
        As `config.fields.key` declares them.
    lower, upper
        Bounds of a number, None where there is none; `lower_open`, `upper_open` exclude the bound itself.
    choices
        Allowed values of a `Shape.CHOICE`.
    item
        Type of the scalars of a `Shape.SEQUENCE`: int, float or str.
    nested
        Whether a sequence holds sequences, such as a kernel size for each stage.
    models
        Config classes: the one of a group, or those of a tagged union.
    tag
        The discriminator of a union.
    """

    name: str
    shape: Shape
    optional: bool
    title: str
    description: str
    unit: str
    level: str
    lower: float | None = None
    upper: float | None = None
    lower_open: bool = False
    upper_open: bool = False
    choices: tuple[Any, ...] = ()
    item: type = str
    nested: bool = False
    models: tuple[type[Config], ...] = ()
    tag: str = ""

    @property
    def empty(self) -> str:
        """The word that a control shows for None."""
        if self.name in _EMPTY_WORDS:
            return _EMPTY_WORDS[self.name]
        said = re.search(r"Empty: ([a-z][a-z ]{1,13})\.", self.description)
        return said.group(1) if said else "auto"


@cache
def keys_of(model: type[Config]) -> tuple[Key, ...]:
    """Return the editable keys of a model in the order they are declared.

    A discriminator (a literal with one value) is no key: the union's own combo box stands for it.
    """
    return tuple(
        describe_key(field.alias or name, field)
        for name, field in model.model_fields.items()
        if not _is_tag(field)
    )


def describe_key(name: str, field: FieldInfo) -> Key:
    """Return what an editor needs to know of one field."""
    annotation, optional = _without_none(field.annotation)
    shape, details = _shape(annotation, field)
    if optional and shape is Shape.BOOL:  # a tick has two states
        shape, details = Shape.CHOICE, {"choices": (True, False)}
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return Key(
        name=name,
        shape=shape,
        optional=optional,
        title=field.title or name,
        description=field.description or "",
        unit=str(extra.get("unit", "")),
        level=str(extra.get("level", "advanced")),
        **_bounds(field),
        **details,
    )


def schema_text(model: type[Config], name: str) -> str:
    """Return the description of one key, for a control that stands outside of a form."""
    return str(model.model_fields[name].description)


def tag_of(model: type[Config], discriminator: str) -> str:
    """Return the value of a tagged class's discriminator, such as ``"AdamW"``."""
    return str(model.model_fields[discriminator].default)


def _is_tag(field: FieldInfo) -> bool:
    arguments = typing.get_args(field.annotation)
    return typing.get_origin(field.annotation) is Literal and len(arguments) == 1


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    arguments = typing.get_args(annotation)
    left = [argument for argument in arguments if argument is not type(None)]
    if len(left) == len(arguments):
        return annotation, False
    return (left[0] if len(left) == 1 else typing.Union[tuple(left)]), True  # noqa: UP007


def _shape(annotation: Any, field: FieldInfo) -> tuple[Shape, dict[str, Any]]:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    plain = {bool: Shape.BOOL, int: Shape.INT, float: Shape.FLOAT, str: Shape.TEXT}
    if annotation in plain:
        return plain[annotation], {}
    if origin is Literal:
        return Shape.CHOICE, {"choices": arguments}
    if origin is tuple and arguments[0] is LossConfig:
        return Shape.LOSSES, {}
    if origin is tuple:
        first = _plain(arguments[0])
        nested = typing.get_origin(first) is tuple
        item = _plain(typing.get_args(first)[0]) if nested else first
        return Shape.SEQUENCE, {"item": item, "nested": nested}
    if origin is dict:
        return Shape.MAPPING, {}
    if origin in (typing.Union, types.UnionType):
        return Shape.UNION, {"models": arguments, "tag": str(field.discriminator)}
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return Shape.GROUP, {"models": (annotation,)}
    raise TypeError(f"no editor serves {annotation!r}; give it one in widgets/form.py")


def _plain(annotation: Any) -> Any:
    """Return a type without the constraints that `Annotated` adds to it."""
    is_annotated = typing.get_origin(annotation) is typing.Annotated
    return typing.get_args(annotation)[0] if is_annotated else annotation


def _bounds(field: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in field.metadata:
        for attribute, side, is_open in (
            ("ge", "lower", False),
            ("gt", "lower", True),
            ("le", "upper", False),
            ("lt", "upper", True),
        ):
            bound = getattr(item, attribute, None)
            if bound is not None:
                found[side] = bound
                found[f"{side}_open"] = is_open
    return found
