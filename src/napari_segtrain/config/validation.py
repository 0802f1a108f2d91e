"""Turns pydantic's errors into sentences that name file, key, value and the nearest valid one."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from .errors import did_you_mean


def describe_errors(error: ValidationError, root: type[BaseModel], within: str = "") -> list[str]:
    """Return a sentence for each fault.

    Parameters
    ----------
    error
        What pydantic raised for `root`.
    root
        The model that was validated.
    within
        Key that the model is the value of, such as ``"tr_config"``; empty for the whole experiment.
    """
    found = error.errors(include_url=False)
    return [line for item in found for line in _describe(item, root, within).splitlines()]


def _describe(item: Any, root: type[BaseModel], within: str) -> str:
    location = [part for part in item["loc"] if not _is_union_tag(part, root, item["loc"])]
    dotted = ".".join(str(part) for part in ([within] if within else []) + location)
    given = item["input"]
    kind = item["type"]
    if kind == "extra_forbidden":
        allowed = _keys_at(root, item["loc"][:-1])
        advice = did_you_mean(str(location[-1]), allowed) if allowed else ""
        return f"{dotted}: unknown key. {_belongs(str(location[-1]), root)}{advice}".rstrip()
    if kind in ("literal_error", "enum"):
        options = [part.strip(" '") for part in _expected(item).replace(" or ", ", ").split(",")]
        return f"{dotted}: {given!r} is not a valid value. {did_you_mean(str(given), options)}"
    if kind == "union_tag_invalid":
        options = [part.strip(" '") for part in item["ctx"]["expected_tags"].split(",")]
        tag = item["ctx"]["tag"]
        return f"{dotted}: {tag!r} is unknown. {did_you_mean(tag, options)}"
    if kind == "union_tag_not_found":
        return f"{dotted}: the key {item['ctx']['discriminator']} is missing"
    if kind == "missing":
        return f"{dotted}: the key is required"
    if kind in _WRITTEN_AS:
        return f"{dotted}: {given!r} is not allowed: {_WRITTEN_AS[kind]}"
    if kind == "model_attributes_type":
        tag, tags = _tags_at(root, item["loc"])
        return f"{dotted}: {given!r} is not allowed: give keys, such as {{{tag}: {_nearest(given, tags)}}}"
    if kind == "value_error":
        message = str(item["ctx"]["error"])
        return f"{dotted}: {message}" if dotted else message
    if kind == "string_pattern_mismatch":
        return f"{dotted}: {given!r} is not allowed. {_description(root, item['loc'])}".rstrip()
    return f"{dotted}: {given!r} is not allowed: {item['msg'][:1].lower()}{item['msg'][1:]}"


_WRITTEN_AS = {
    "tuple_type": "give a list, such as [first, second]",
    "dict_type": "give names, and the settings of each below it",
    "model_type": "give keys and their values, such as {key: value}",
}
"""What is said where Python's own word for a type would be."""


def _tags_at(root: type[BaseModel], loc: tuple[Any, ...]) -> tuple[str, list[str]]:
    """Return the discriminator of the union at a location, and its values."""
    found = [(name, tag) for model in _models_at(root, loc) for name, tag in [_tagged(model)] if tag]
    return found[0][0], [tag for _, tag in found]


def _nearest(given: Any, allowed: list[str]) -> str:
    same = [name for name in allowed if name.lower() == str(given).lower()]
    return (same or allowed)[0]


def _belongs(key: str, root: type[BaseModel]) -> str:
    """Return where else a key is known, in words; empty when nowhere."""
    places = sorted({".".join(path) for path in _places(key, root, ())})
    return f"It is a key of {' and of '.join(places)}. " if 0 < len(places) <= 3 else ""


def _places(key: str, model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if path and key == (field.alias or name):
            yield path
        step = (field.alias or name, *(("<name>",) if _is_mapping(field.annotation) else ()))
        for inner in _flatten(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _places(key, inner, (*path, *step))


def _is_mapping(annotation: Any) -> bool:
    return typing.get_origin(annotation) is dict


def _expected(item: Any) -> str:
    return str(item["ctx"].get("expected", ""))


def _is_union_tag(part: Any, root: type[BaseModel], loc: tuple[Any, ...]) -> bool:
    """Pydantic inserts the discriminator's value into the location; a user never wrote it there."""
    index = loc.index(part)
    before = _models_at(root, loc[:index])
    return len(before) > 1 and isinstance(part, str) and any(_tag(m) == part for m in before)


def _tag(model: type[BaseModel]) -> str | None:
    return _tagged(model)[1]


def _tagged(model: type[BaseModel]) -> tuple[str, str | None]:
    """Return the discriminator of a tagged class and its value, None for another class."""
    for name in ("name", "type"):
        field = model.model_fields.get(name)
        if field is not None and isinstance(field.default, str):
            return name, field.default
    return "", None


def _description(root: type[BaseModel], loc: tuple[Any, ...]) -> str:
    """Return what the schema says of the key at a location."""
    for model in _models_at(root, loc[:-1]):
        for name, field in model.model_fields.items():
            if loc[-1] in (name, field.alias) and field.description:
                return field.description
    return ""


def _keys_at(root: type[BaseModel], loc: tuple[Any, ...]) -> set[str]:
    keys: set[str] = set()
    for model in _models_at(root, loc):
        keys |= {field.alias or name for name, field in model.model_fields.items()}
    return keys


def _models_at(root: type[BaseModel], loc: tuple[Any, ...]) -> list[type[BaseModel]]:
    """Return the models that may stand at a location, following fields, mappings and unions."""
    current: list[Any] = [root]
    for part in loc:
        tagged = [m for m in current if isinstance(m, type) and _tag(m) == part]
        if tagged and len(current) > 1:
            current = tagged
            continue
        following: list[Any] = []
        for node in current:
            if not (isinstance(node, type) and issubclass(node, BaseModel)):
                continue
            for name, field in node.model_fields.items():
                if part in (name, field.alias):
                    following += _flatten(field.annotation)
        # A mapping's or list's own key leads to the value type, which `_flatten` has unpacked already.
        current = following or current
    return [m for m in current if isinstance(m, type) and issubclass(m, BaseModel)]


def _flatten(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _flatten(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return [m for argument in arguments for m in _flatten(argument)]
    if origin is dict:
        return _flatten(arguments[1])
    if origin in (tuple, list):
        return [m for argument in arguments if argument is not Ellipsis for m in _flatten(argument)]
    return [annotation]
