"""A training that is stepped through in the dock, with the real engine, is the one that Python takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.widgets.docks.step_dock import StepDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.layers.step_layers import own_layers

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(1800)]

SETTINGS = ExperimentConfig.parse(
    {
        "tr_setup": {"device": "cpu", "num_workers": 0, "compile": "off"},
        "tr_config": {"patch_size": [16, 16], "batch_size": 2, "num_epochs": 2, "steps_per_epoch": 4},
        "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
        "dataset_config": {"targets": {"nuclei": {"kind": "classes", "labels": "cells_nuclei"}}},
    }
)
STEPS = (
    "prepare_batch",
    "zero_gradients",
    "forward_pass",
    "calculate_loss",
    "backward_pass",
    "optimizer_step",
)


@pytest.fixture
def engine_path() -> tuple[str, ...]:
    """The real engine."""
    return ("--nice", "0")


def test_the_dock_takes_the_steps_of_the_experiment(
    viewer: Any, cells: Any, make_dock: Callable[[type], Any], hands: Any, notes: list[tuple[str, str]]
) -> None:
    image, labels = cells
    make_dock(TrainDock).set_value(SETTINGS)
    dock = make_dock(StepDock)
    told: list[Any] = []
    dock.session.taken.connect(told.append)
    dock.session.counted.connect(told.append)
    dock.checks.batches.set_value(6)
    for action in ("define_model", "initialize_optimizer", *STEPS, *STEPS[:5], "what_if", "run_batches"):
        hands.press(dock, action)
        hands.wait(lambda: not dock.session.waits, lambda: dock.panel.text)
    hands.press(dock, "overfit")
    hands.wait(lambda: not dock.session.waits, lambda: dock.panel.text)
    assert "by heart" in dock.panel.text
    assert notes == []
    groups = {layer.metadata["napari_segtrain"]["group"] for layer in own_layers(viewer)}
    assert groups == {"batch", "prediction", "gradient"}
    losses = {(one.epoch, one.batch): one.loss for one in told if one.loss is not None}
    assert list(losses.values()) == by_hand(np.asarray(image.data), np.asarray(labels.data), len(losses))


def by_hand(image: Any, labels: Any, number: int) -> list[float]:
    """Return the losses of the first batches, taken in this process."""
    from napari_segtrain.training.steps import (
        backward_pass,
        calculate_loss,
        forward_pass,
        optimizer_step,
        prepare_batch,
        take_apart,
        zero_gradients,
    )

    data = {
        "layers": [
            {"id": "cells", "image": image, "labels": {"cells_nuclei": labels}, "spacing": (0.5, 0.25)}
        ]
    }
    parts = take_apart(SETTINGS, data)
    step, losses = parts.initialize_optimizer(), []
    for place in range(number):
        epoch, index = divmod(place, len(parts.loader))
        parts.loader.set_epoch(epoch)
        batch = prepare_batch(parts.loader, index)
        step = zero_gradients(step)
        loss = calculate_loss(forward_pass(step.network, batch), batch, parts.loss, epoch)
        step, _ = optimizer_step(step, backward_pass(step, loss), gradient_clip=parts.gradient_clip)
        losses.append(loss.value)
    return losses
