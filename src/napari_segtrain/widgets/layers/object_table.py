"""What was measured of objects, as the features of their layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .geometry import Geometry

_SHORT = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "angstrom": "Å", "pixel": "px"}


def object_features(table: Mapping[str, npt.NDArray[Any]], geometry: Geometry) -> dict[str, Any]:
    """Return the columns of a features table, a row an object.

    ``index`` is the object's number in the layer, by which napari finds the row of what is under the
    pointer. Area (2D) or volume (3D) is that of the object's voxels in the unit of the layer's scale, the
    centre lies in the world, where the pointer's position is counted too.

    Parameters
    ----------
    table
        As `measure_objects` returns it.
    geometry
        Of the layer.
    """
    unit = _unit(geometry)
    size, power = ("area", "²") if geometry.ndim == 2 else ("volume", "³")
    voxel = abs(float(np.linalg.det(geometry.linear)))
    columns: dict[str, Any] = {
        "index": table["label"],
        f"{size} ({unit}{power})": table["voxels"] * voxel,
        "pixels" if geometry.ndim == 2 else "voxels": table["voxels"],
    }
    light = table.get("intensity")
    if light is not None:
        several = light.shape[1] > 1
        for channel in range(light.shape[1]):
            columns[f"mean intensity {channel}" if several else "mean intensity"] = light[:, channel]
    inside = table["centre"] @ geometry.linear.T + geometry.translate
    world = inside @ geometry.affine[:-1, :-1].T + geometry.affine[:-1, -1]
    names = geometry.axis_labels or tuple("zyx"[-geometry.ndim :])
    columns |= {f"centre {name}": world[:, axis] for axis, name in enumerate(names)}
    return columns


def _unit(geometry: Geometry) -> str:
    names = {str(unit) for unit in geometry.units or ("pixel",)}
    if len(names) > 1:
        return "units"
    [name] = names
    return _SHORT.get(name, name)
