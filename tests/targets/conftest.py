from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DataFacts, ExperimentConfig
from napari_segtrain.targets import TargetDeriver, resolve_heads

Derive = Callable[..., dict[str, Any]]


@pytest.fixture
def derive() -> Derive:
    """Derive one target ``t`` and auxiliary tasks from it: ``derive(labels, tasks, spacing=…)``."""

    def run(
        labels: np.ndarray,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        target: Mapping[str, Any] | None = None,
        mask: np.ndarray | None = None,
        spacing: tuple[float, ...] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        spacing = spacing or (1.0,) * labels.ndim
        config = ExperimentConfig.parse(
            {
                "tr_config": dict(settings or {}),
                "dataset_config": {"targets": {"t": {"kind": "binary", **(target or {})}}},
                "auxiliary_tasks": {
                    name: {"source_target": "t", **task} for name, task in (tasks or {}).items()
                },
            }
        )
        facts = DataFacts(ndim=labels.ndim, shape=labels.shape, spacing=spacing)
        deriver = TargetDeriver(config, resolve_heads(config, facts), facts)
        return deriver({"t": labels}, {} if mask is None else {"t": mask}, spacing)

    return run


@pytest.fixture
def plane() -> Callable[..., np.ndarray]:
    """Signed distance of every voxel centre to a plane through the middle, along a direction."""

    def make(
        size: tuple[int, ...], direction: Any, spacing: tuple[float, ...], offset: float = 0.0
    ) -> np.ndarray:
        direction = np.asarray(direction, float) / np.linalg.norm(direction)
        axes = np.meshgrid(
            *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(size, spacing, strict=True)], indexing="ij"
        )
        return sum(n * axis for n, axis in zip(direction, axes, strict=True)) - offset

    return make
