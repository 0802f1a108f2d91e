"""What kind of layer a layer is."""

from __future__ import annotations

from typing import Any


def layer_kind(layer: Any) -> str:
    """Return the name of a layer's class, such as "Labels".

    napari hands a plugin its viewer, and what is added to it or chosen in it, behind a proxy: the proxy has
    the class of what it stands for, but a type of its own.
    """
    name: str = layer.__class__.__name__
    return name
