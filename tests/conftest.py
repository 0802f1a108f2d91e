"""Fixtures that several rooms use: small synthetic data sets and experiments that train in seconds."""

import os
import signal

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the processor; set before torch reads it, and for the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import tifffile

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("any_machine", deadline=None)
hypothesis.settings.load_profile("any_machine")


@pytest.fixture(scope="session", autouse=True)
def in_the_foreground():
    """Be interruptible: a shell lets what it runs in the background ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def discs(shape, count, seed):
    """Return a noisy image (uint8) of bright discs (balls) and their instance labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint16)
    grid = np.indices(shape)
    for number in range(1, count + 1):
        radius = rng.uniform(0.08, 0.16) * min(shape)
        centre = [rng.uniform(radius, size - radius) for size in shape]
        distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) ** 0.5
        labels[(distance <= radius) & (labels == 0)] = number
    image = 60 + 120 * (labels > 0) + rng.normal(0, 12, shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture
def disc_image():
    """Return the function that draws discs: shape, count, seed → image, instance labels."""
    return discs


@pytest.fixture
def disc_folder(tmp_path):
    """Return a function that writes a data folder of disc images with a binary target ``cells``."""

    def make(count=3, shape=(64, 72), instances=False, name="data"):
        folder = tmp_path / name
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True)
        for number in range(count):
            image, labels = discs(shape, 5, number)
            tifffile.imwrite(folder / "images" / f"im{number}.tif", image)
            painted = labels if instances else (labels > 0).astype(np.uint8)
            tifffile.imwrite(folder / "labels" / f"im{number}_cells.tif", painted)
        return folder

    return make


@pytest.fixture
def tiny_experiment():
    """Return a function that makes an experiment of a small network and few steps, with overrides."""
    from napari_segtrain.config import ExperimentConfig

    def make(ndim=2, **overrides):
        values = {
            "tr_setup": {"device": "cpu", "num_workers": 0},
            "tr_config": {
                "patch_size": [32] * ndim,
                "batch_size": 2,
                "num_epochs": 2,
                "steps_per_epoch": 2,
                "val_steps": 1,
                "evaluate_after": "none",
                "optimizer": {"name": "AdamW", "lr": 0.01},
            },
            "model_config": {"base_features": 4, "blocks_per_stage": [1, 1, 1], "max_poolings": 2},
            "dataset_config": {"targets": {"cells": {"kind": "binary"}}},
        }
        return ExperimentConfig.parse(values).with_overrides(overrides)

    return make


@pytest.fixture
def little_memory(monkeypatch):
    """Return a function that lets every network fail with an error as soon as it computes something."""
    from napari_segtrain.network import MultiTaskUNet

    real = MultiTaskUNet.forward

    def fail_with(error):
        def forward(self, x):
            if x.is_meta:  # an estimate of the memory computes nothing
                return real(self, x)
            raise error

        monkeypatch.setattr(MultiTaskUNet, "forward", forward)

    return fail_with
