"""How a configuration key describes itself: the text of tooltips, ``--help`` and the reference."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.config import JsonDict

Level = Literal["common", "advanced"]


def key(
    default: Any,
    title: str,
    description: str,
    *,
    unit: str = "",
    level: Level = "advanced",
    **bounds: Any,
) -> Any:
    """Declare one configuration key.

    Parameters
    ----------
    default
        The value when the key is not given; ``...`` makes the key required. A callable is a factory.
    title
        A short label for forms, in sentence case.
    description
        One or two sentences: what it does and when to change it.
    unit
        Unit of the number, such as ``"px"``, ``"epochs"`` or ``"minutes"``.
    level
        ``"common"`` keys are visible in a form from the start, ``"advanced"`` ones are folded.
    **bounds
        What `pydantic.Field` takes: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``, ``pattern``, …
    """
    extra: JsonDict = {"unit": unit, "level": level}
    if callable(default):
        return Field(
            default_factory=default,
            title=title,
            description=description,
            json_schema_extra=extra,
            **bounds,
        )
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)
