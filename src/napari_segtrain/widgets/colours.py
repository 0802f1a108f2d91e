"""One colour for each target's foreground, in previews and in results alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import SegtrainError
from ..runs import find_run

_COLOURS = ("#ffd23f", "#3ddc97", "#ff6fb5", "#8c9eff", "#ff8c42", "#c6f135")
"""Told apart on grey images, also from the first colours of painted labels."""


def foreground_names(model: str | Path) -> tuple[str, ...]:
    """Return the outputs of a run or checkpoint that are foreground against background; none if unknown."""
    try:
        resolved: Any = find_run(model).read_json("resolved.json")
    except SegtrainError:
        return ()
    return tuple(head["name"] for head in resolved["heads"] if head["encoding"] == "binary")


def foreground_colours(names: Sequence[str], name: str) -> Any:
    """Return a colormap of labels in which everything but 0 has the output's colour.

    Parameters
    ----------
    names
        The outputs that are foreground against background.
    name
        One output of the network.

    Returns
    -------
    A napari colormap; None, for napari's own, when `name` is not one of `names`.
    """
    if name not in names:
        return None
    from napari.utils.colormaps import DirectLabelColormap

    colour = _COLOURS[names.index(name) % len(_COLOURS)]
    return DirectLabelColormap(color_dict={None: colour, 0: "transparent", 1: colour})
