"""One colour for each target's foreground, in previews and in results alike."""

from __future__ import annotations

from typing import Any

from ..config import ExperimentConfig

_COLOURS = ("#38d39f", "#ffb454", "#c792ea", "#5ccfe6", "#ff7a9c", "#d4e157")
"""Told apart on grey images, also from the first colours of painted labels."""


def foreground_colours(config: ExperimentConfig | None, name: str) -> Any:
    """Return a colormap of labels in which everything but 0 has the target's colour.

    Parameters
    ----------
    config
        The experiment; None where it is not known.
    name
        The output of the network.

    Returns
    -------
    A napari colormap; None for outputs that are not foreground against background.
    """
    targets = {} if config is None else config.dataset_config.targets
    if name not in targets or targets[name].kind not in ("binary", "instances"):
        return None
    from napari.utils.colormaps import DirectLabelColormap

    colour = _COLOURS[list(targets).index(name) % len(_COLOURS)]
    return DirectLabelColormap(color_dict={None: colour, 0: "transparent", 1: colour})
