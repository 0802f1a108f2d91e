"""The samples as napari opens them: layers that the Train dock knows how to train on."""

from __future__ import annotations

from typing import Any

from ...data import samples

LayerData = tuple[Any, dict[str, Any], str]
"""Array, keyword arguments and kind of a layer."""


def coins() -> list[LayerData]:
    """Return the coins and their scribbles."""
    return as_layers(samples.coins())


def tubes_and_blobs() -> list[LayerData]:
    """Return the generated volume and the labels of its tubes and blobs."""
    return as_layers(samples.tubes_and_blobs())


def as_layers(sample: samples.Sample) -> list[LayerData]:
    """Return a sample's image, and a labels layer ``<image>_<target>`` for each target.

    The labels remember what they are in `metadata`, so that a new row of the Train dock starts with it.
    """
    space = {"scale": sample.spacing, "units": (sample.unit,) * sample.image.ndim}
    layers: list[LayerData] = [(sample.image, {"name": sample.name, **space}, "image")]
    for target, labels in sample.labels.items():
        known = {"napari_segtrain": {"target": sample.targets[target]}}
        options = {"name": f"{sample.name}_{target}", "metadata": known, **space}
        layers.append((labels.copy(), options, "labels"))
    return layers
