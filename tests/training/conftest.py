"""Tiny data sets, configurations and networks that train in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import open_dataset
from napari_segtrain.runs import Control, Event, RunFolder
from napari_segtrain.training import Experiment


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class FakeHead:
    """A head as scores and losses see it."""

    name: str
    encoding: str = "binary"
    activation: str = "sigmoid"
    out_channels: int = 1
    scale: float = 1.0
    decoder: str = "x"


@pytest.fixture(scope="session")
def fake_head() -> type[FakeHead]:
    return FakeHead


def balls(ndim: int, edge: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of bright balls in noise, and which voxels are ball."""
    rng = np.random.default_rng(seed)
    grid = np.indices((edge,) * ndim)
    labels = np.zeros((edge,) * ndim, np.uint8)
    for _ in range(6):
        centre = rng.uniform(edge * 0.1, edge * 0.9, ndim)
        labels[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < (edge / 8) ** 2] = 1
    image = labels * 80 + rng.normal(60, 10, labels.shape)
    return image.clip(0, 255).astype(np.uint8), labels


@pytest.fixture
def layers() -> Callable[..., dict[str, Any]]:
    def make(ndim: int = 2, images: int = 3, **changes: Any) -> dict[str, Any]:
        items = []
        for number in range(images):
            image, labels = balls(ndim, 48 if ndim == 2 else 24, number)
            item: dict[str, Any] = {"id": f"image{number}", "image": image, "labels": {"fg": labels}}
            items.append({**item, **changes})
        return {"layers": items}

    return make


@pytest.fixture
def tiny_config() -> Callable[..., ExperimentConfig]:
    """Return a configuration of two short epochs; dotted keys change it."""

    def make(ndim: int = 2, **changes: Any) -> ExperimentConfig:
        values = {
            "tr_setup": {"num_workers": 0, "device": "cpu", "compile": "off"},
            "tr_config": {
                "patch_size": [16] * ndim,
                "batch_size": 2,
                "num_epochs": 2,
                "steps_per_epoch": 3,
                "val_steps": 2,
            },
            "model_config": {"base_features": 4, "max_features": 8},
            "dataset_config": {"targets": {"fg": {"kind": "binary"}}},
            "auxiliary_tasks": {"distance": {"type": "distance_transform", "source_target": "fg"}},
        }
        config = ExperimentConfig.parse(values)
        return config.with_overrides({key.replace("__", "."): value for key, value in changes.items()})

    return make


@dataclass
class Made:
    """An experiment with what a test wants to look at."""

    experiment: Experiment
    run: RunFolder
    events: list[Event]
    control: Control

    def fit(self, **kwargs: Any) -> Any:
        return self.experiment.fit(**{"tensorboard": False, **kwargs})

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def make_experiment(
    tmp_path: Path, layers: Callable[..., dict[str, Any]], tiny_config: Callable[..., ExperimentConfig]
) -> Callable[..., Made]:
    def make(
        ndim: int = 2,
        *,
        run: RunFolder | None = None,
        resume: bool = False,
        data: dict[str, Any] | None = None,
        images: int = 3,
        splits: Any = None,
        **changes: Any,
    ) -> Made:
        config = tiny_config(ndim, **changes)
        dataset = open_dataset(data if data is not None else layers(ndim, images), config.dataset_config)
        run = run if run is not None else RunFolder.create(tmp_path / "project", "test")
        events: list[Event] = []
        control = Control()
        experiment = Experiment.prepare(
            config, dataset, run, events.append, control, resume=resume, splits=splits
        )
        return Made(experiment, run, events, control)

    return make
