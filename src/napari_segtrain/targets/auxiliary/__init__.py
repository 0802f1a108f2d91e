"""Auxiliary tasks: one file each, listed in one lazy table.

A new task is a configuration class in ``config/auxiliary.py``, one file here with a subclass of
`AuxiliaryTarget`, and one line in `TASKS`.
"""

from __future__ import annotations

from importlib import import_module

from ...config import ConfigError, did_you_mean
from .base import AuxiliaryTarget

TASKS: dict[str, tuple[str, str]] = {
    "distance_transform": ("distance_transform", "DistanceTransform"),
    "flows": ("flows", "Flows"),
    "inplane_direction": ("inplane_direction", "InplaneDirection"),
    "nearest_component": ("nearest_component", "NearestComponent"),
    "structure_tensor": ("structure_tensor", "StructureTensor"),
    "surface_normals": ("surface_normals", "SurfaceNormals"),
}
"""Type of the task in the configuration → module of this package and its class."""


def task_type(name: str) -> type[AuxiliaryTarget]:
    """Return the class that derives a type of auxiliary task.

    Raises
    ------
    ConfigError
        When there is no such type; names the nearest.
    """
    if name not in TASKS:
        raise ConfigError(f"auxiliary task type {name!r} is unknown. {did_you_mean(name, TASKS)}")
    module, attribute = TASKS[name]
    found = getattr(import_module(f".{module}", __name__), attribute)
    if not (isinstance(found, type) and issubclass(found, AuxiliaryTarget)):
        raise TypeError(f"{module}.{attribute} is not an AuxiliaryTarget")
    return found


__all__ = ["TASKS", "AuxiliaryTarget", "task_type"]
