"""What a prediction was made with: kept beside its output, and compared before one is continued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_segtrain.config import InferenceConfig
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.sources import Source
from napari_segtrain.runs.info import library_versions

from .sinks import Job
from .tiling import TileGrid

_NOT_IN_VALUES = ("batch_size", "checkpoint", "strategy")
"""Keys that change the speed, or which weights are taken, but no more than rounding of what these give."""

_SAMPLE = 32


@dataclass(frozen=True)
class Made:
    """What an output comes from.

    Attributes
    ----------
    checkpoint
        Where the weights come from.
    weights
        Returns a digest of the weights; takes a moment.
    normalisation, inference
        How the network is used.
    ndim
        Spatial axes of the network.
    device
        Where it predicts.
    targets
        Names of what is written.
    """

    checkpoint: Mapping[str, Any]
    weights: Callable[[], str]
    normalisation: Normalisation
    inference: InferenceConfig
    ndim: int
    device: str
    targets: Sequence[str]

    def job(self, source: Source, grid: TileGrid) -> Job:
        """Return what a sink is told of the prediction of an image."""
        return Job(
            grid.size,
            tuple(source.spacing),
            source.unit,
            tuple(part.start for part in grid.bounds),
            self.ndim,
            partial(self._identity, source, grid),
            partial(self._settings, source, grid),
        )

    def _settings(self, source: Source, grid: TileGrid) -> dict[str, Any]:
        return {
            "versions": library_versions(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "checkpoint": {**self.checkpoint, "weights": self.weights()},
            "image": _name(source),
            "targets": list(self.targets),
            "inference_config": self.inference.to_dict(),
            "tile_size": list(grid.tile),
            "device": self.device,
            "region": _region(grid),
        }

    def _identity(self, source: Source, grid: TileGrid) -> dict[str, Any]:
        keys = self.inference.to_dict()
        facts = {
            **{name: value for name, value in keys.items() if name not in _NOT_IN_VALUES},
            "weights": self.weights(),
            "normalisation": self.normalisation.to_dict(),
            "image": _name(source),
            "size of the image": [source.channels, *source.shape],
            "values of the image": _sample(source),
            "spacing of the image": [float(step) for step in source.spacing],
            "region": _region(grid),
            "tile": list(grid.tile),
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))
        return plain


def weights_digest(network: nn.Module) -> str:
    """Return what identifies the weights of a network, whatever file they come from."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _name(source: Source) -> str:
    name = str(getattr(source, "name", ""))
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def _region(grid: TileGrid) -> list[list[int]]:
    return [[part.start, part.stop] for part in grid.bounds]


def _sample(source: Source) -> str:
    """Return a digest of the type and of some voxels in the middle: an image may change under its name."""
    middle = tuple(slice(max(0, n // 2 - _SAMPLE // 2), min(n, n // 2 + _SAMPLE // 2)) for n in source.shape)
    values = np.ascontiguousarray(source.read(middle))
    return hashlib.sha256(str(values.dtype).encode() + values.tobytes()).hexdigest()[:16]
