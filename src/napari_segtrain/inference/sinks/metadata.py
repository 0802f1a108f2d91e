"""What is stored with an output so that other programs show it in the right place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..outputs import Output
from .base import Job
from .pyramid import Factors, is_averaged, level_path


def description(output: Output, job: Job) -> dict[str, Any]:
    """Return settings and identity of a prediction, and how stored numbers become values again."""
    return {"settings": dict(job.settings()), "identity": dict(job.identity()), **restoring(output)}


def restoring(output: Output) -> dict[str, Any]:
    """Return `limits`, `scale` and `offset` of an output whose values are scaled, else nothing.

    value = offset + scale · stored.
    """
    if output.limits is None:
        return {}
    low, high = output.limits
    return {"limits": [low, high], "scale": (high - low) / 255, "offset": low}


def axis_names(output: Output, job: Job) -> tuple[str, ...]:
    """Return the names of a stored output's axes: c only where it has several channels."""
    return (("c",) if output.channels > 1 else ()) + tuple("zyx"[-len(job.size) :])


def multiscale(output: Output, job: Job, levels: Sequence[Factors] = ()) -> dict[str, Any]:
    """Return one entry of OME-NGFF `multiscales` (versions 0.4 and 0.5).

    The scale is the source's spacing; a region of an image is translated to its place in it. A voxel of a
    smaller version lies in the middle of those that it stands for, so it is translated by half of what it is
    larger.
    """
    names = axis_names(output, job)
    unit = {} if job.unit == "pixel" else {"unit": job.unit}
    axes = [
        {"name": n, "type": "channel"} if n == "c" else {"name": n, "type": "space", **unit} for n in names
    ]
    datasets = [
        {"path": level_path(output, number), "coordinateTransformations": _transforms(output, job, factors)}
        for number, factors in enumerate([(1,) * len(job.size), *levels])
    ]
    return {"name": output.name, "axes": axes, "datasets": datasets}


def _transforms(output: Output, job: Job, factors: Factors) -> list[dict[str, Any]]:
    several = output.channels > 1
    scale = [float(step * f) for step, f in zip(job.spacing, factors, strict=True)]
    offset = [
        float(step * (first + (f - 1) / 2))
        for first, step, f in zip(job.origin, job.spacing, factors, strict=True)
    ]
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0] * several + scale}]
    if any(offset):
        transforms.append({"type": "translation", "translation": [0.0] * several + offset})
    return transforms


def group_attributes(
    outputs: Sequence[Output], job: Job, version: str, levels: Sequence[Factors] = ()
) -> dict[str, Any]:
    """Return the `multiscales` of all outputs, spelt for version ``"0.4"`` or ``"0.5"``."""
    entries = [
        {**multiscale(output, job, levels), "type": "mean" if is_averaged(output) else "nearest"}
        for output in outputs
    ]
    if version == "0.4":
        return {"multiscales": [{"version": version, **entry} for entry in entries]}
    return {"ome": {"version": version, "multiscales": entries}}


def ome_tiff_metadata(output: Output, job: Job) -> dict[str, Any]:
    """Return the keyword `metadata` of tifffile: an OME-TIFF with the source's spacing.

    Settings and identity of the prediction are its description, as JSON.
    """
    symbols = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "angstrom": "Å", "pixel": "pixel"}
    metadata: dict[str, Any] = {"axes": "".join(axis_names(output, job)).upper(), "Name": output.name}
    metadata["Description"] = json.dumps(description(output, job))
    for name, step in zip("ZYX"[-len(job.size) :], job.spacing, strict=True):
        metadata[f"PhysicalSize{name}"] = float(step)
        metadata[f"PhysicalSize{name}Unit"] = symbols.get(job.unit, job.unit)
    return metadata
