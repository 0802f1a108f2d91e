"""One colour for each target's foreground, in previews and in results alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ...config import SegtrainError
from ...runs import find_run
from ...targets import Head
from ...targets.colours import FOREGROUNDS


def heads_of(model: str | Path) -> dict[str, Head]:
    """Return the outputs of a run or checkpoint by name; none if they are not known."""
    try:
        resolved: Any = find_run(model).read_json("resolved.json")
        heads = [Head.from_dict(head) for head in resolved["heads"]]
    except SegtrainError:
        return {}
    return {head.name: head for head in heads}


def foreground_names(model: str | Path) -> tuple[str, ...]:
    """Return the outputs of a run or checkpoint that are foreground against background; none if unknown."""
    return tuple(name for name, head in heads_of(model).items() if head.encoding == "binary")


def number_options(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Return colours for numbers: with 0 in the middle where there are some below it."""
    low, high = around_zero(float(values.min()), float(values.max()))
    return {"contrast_limits": (low, high), "colormap": "PiYG" if low < 0 else "magma"}


def around_zero(low: float, high: float) -> tuple[float, float]:
    """Return a range to colour, with 0 in its middle where there is something below it."""
    if low >= 0:
        return low, max(high, low + 1e-6)
    return -max(-low, high), max(-low, high)


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

    colour = "#{:02x}{:02x}{:02x}".format(*FOREGROUNDS[names.index(name) % len(FOREGROUNDS)])
    return DirectLabelColormap(color_dict={None: colour, 0: "transparent", 1: colour})
