import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_segtrain.config import (
    DataFacts,
    ExperimentConfig,
    InferenceConfig,
    RunError,
    TargetFacts,
)
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import MemorySink, Predictor
from napari_segtrain.network import MultiTaskUNet, build_network, make_plan
from napari_segtrain.runs import RunFolder, save_checkpoint
from napari_segtrain.targets import resolve_heads

SHAPE = (40, 36)


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Any]:
    """A run with a best and a last checkpoint of an untrained network with every kind of output."""
    config = ExperimentConfig.parse(
        {
            "dataset_config": {
                "targets": {
                    "tissue": {"kind": "classes", "unlabelled": 0},
                    "cells": {"kind": "instances"},
                }
            },
            "auxiliary_tasks": {
                "depth": {"type": "distance_transform", "source_target": "cells"},
                "normals": {"type": "surface_normals", "source_target": "cells"},
            },
            "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "features": [4, 8]},
            "inference_config": {"overlap": 0.25, "batch_size": 3},
        },
        "test",
    )
    facts = DataFacts(
        ndim=2,
        in_channels=1,
        shape=SHAPE,
        spacing=(0.5, 0.5),
        unit="micrometer",
        targets={"tissue": TargetFacts(values=(0, 1, 2, 7), max_value=7), "cells": TargetFacts(max_value=40)},
    )
    heads = resolve_heads(config, facts)
    plan = make_plan(
        config.network,
        ndim=2,
        in_channels=1,
        patch_size=(16, 16),
        spacing=(0.5, 0.5),
        shape=SHAPE,
        heads=heads,
    )
    torch.manual_seed(0)
    network = build_network(plan).eval()
    normalisation = Normalisation(name="zscore", shift=(100.0,), scale=(0.02,))
    run = RunFolder.create(tmp_path, "base")
    checkpoint = {
        "model": network.state_dict(),
        "model_config": plan.to_dict(),
        "heads": [head.to_dict() for head in heads],
        "config": config.to_dict(),
        "resolved": {"facts": facts.to_dict()},
        "normalisation": normalisation.to_dict(),
        "spacing": [0.5, 0.5],
        "unit": "micrometer",
        "epoch": 3,
    }
    save_checkpoint(run.checkpoints / "best.ckpt", checkpoint)
    with torch.no_grad():
        zero = {name: value * 0 for name, value in network.state_dict().items()}
    save_checkpoint(run.checkpoints / "last.ckpt", {**checkpoint, "model": zero})
    return {
        "run": run,
        "network": network,
        "normalisation": normalisation,
        "plan": plan,
        "checkpoint": checkpoint,
    }


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.uint8)


def bare(network: MultiTaskUNet, normalisation: Normalisation, image: np.ndarray) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        raw = network(torch.from_numpy(normalisation.apply(image[None]))[None])
    return {name: value[0].numpy() for name, value in raw.items()}


def test_one_tile_is_what_the_network_says(written: dict[str, Any], image: np.ndarray) -> None:
    predictor = Predictor.from_checkpoint(
        written["run"].path, "cpu", InferenceConfig(tile_size=SHAPE, blending="constant")
    )
    found = predictor.predict_array(image)
    raw = bare(written["network"], written["normalisation"], image)
    scale = next(h.scale for h in predictor.heads if h.name == "depth")
    np.testing.assert_allclose(found["cells"], 1 / (1 + np.exp(-raw["cells"])), atol=1e-5)
    np.testing.assert_allclose(found["depth"], raw["depth"] * scale, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["tissue"].sum(0), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found["normals"], axis=0), 1.0, atol=1e-4)
    assert set(found) == {"tissue", "cells", "cells_boundary", "cells_distance", "depth", "normals"}


def test_settings_values_and_spacing_come_from_the_checkpoint(
    written: dict[str, Any], image: np.ndarray
) -> None:
    predictor = Predictor.from_checkpoint(written["run"].path)
    assert predictor.inference.overlap == 0.25 and predictor.tile_size() == (16, 16)
    assert predictor.values == {"tissue": (1, 2, 7)}
    assert predictor.spacing == (0.5, 0.5) and predictor.unit == "micrometer"
    sink = MemorySink()
    predictor.predict_source(open_source(image), sink)
    assert set(sink.arrays) == {"tissue", "cells", "depth", "normals"}
    assert set(np.unique(sink.arrays["tissue"])) <= {1, 2, 7}
    classes = predictor.predict_array(image)["tissue"].argmax(0)
    np.testing.assert_array_equal(sink.arrays["tissue"][0], np.array([1, 2, 7])[classes])


def test_best_or_last_as_the_run_or_the_caller_says(written: dict[str, Any], image: np.ndarray) -> None:
    run, path = written["run"], written["run"].path

    def is_zero(predictor: Predictor) -> bool:
        return all(not p.detach().any() for p in predictor.network.parameters())

    assert not is_zero(Predictor.from_checkpoint(path))
    assert is_zero(Predictor.from_checkpoint(path, inference=InferenceConfig(checkpoint="last")))
    assert is_zero(Predictor.from_checkpoint(run.checkpoints / "last.ckpt"))
    config = {**written["checkpoint"]["config"], "inference_config": {"checkpoint": "last"}}
    save_checkpoint(run.checkpoints / "best.ckpt", {**written["checkpoint"], "config": config})
    assert is_zero(Predictor.from_checkpoint(path))


def test_a_checkpoint_is_all_a_new_process_needs(
    written: dict[str, Any], image: np.ndarray, tmp_path: Path
) -> None:
    alone = tmp_path / "elsewhere" / "model.ckpt"
    alone.parent.mkdir()
    (written["run"].checkpoints / "best.ckpt").rename(alone)
    np.save(tmp_path / "image.npy", image)
    program = (
        "import sys, numpy as np; from napari_segtrain.inference import Predictor;"
        "p = Predictor.from_checkpoint(sys.argv[1], 'cpu');"
        "np.save(sys.argv[3], p.predict_array(np.load(sys.argv[2]))['cells'])"
    )
    result = tmp_path / "result.npy"
    arguments = [sys.executable, "-c", program, str(alone), str(tmp_path / "image.npy"), str(result)]
    subprocess.run(arguments, check=True, timeout=120)
    here = Predictor.from_checkpoint(alone, "cpu").predict_array(image)["cells"]
    np.testing.assert_allclose(np.load(result), here, atol=1e-5)


@pytest.mark.parametrize("change", [{"heads": [{"name": "x"}]}, {"model_config": {}}, {"model": {}}])
def test_a_checkpoint_that_does_not_fit_is_said(written: dict[str, Any], change: dict[str, Any]) -> None:
    file = written["run"].checkpoints / "odd.ckpt"
    save_checkpoint(file, {**written["checkpoint"], **change})
    with pytest.raises(RunError, match=r"odd\.ckpt: does not fit this version"):
        Predictor.from_checkpoint(file)


def test_a_device_that_is_absent_is_said(written: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    predictor = Predictor.from_checkpoint(written["run"].path, "gpu:0")
    assert predictor.device.type == "cpu" and "gpu:0 was asked for, but" in predictor.messages[0]


def test_many_tiles_compile_the_network_few_do_not(
    written: dict[str, Any], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def note(*_: object, expected_steps: int, **__: object) -> bool:
        asked.append(expected_steps)
        return expected_steps > 100

    monkeypatch.setattr("napari_segtrain.inference.moving.maybe_compile", note)
    predictor = Predictor.from_checkpoint(written["run"].path, "cpu", InferenceConfig(mirroring=True))
    predictor.predict_array(image[:16, :16])
    predictor.predict_array(np.tile(image, (3, 3)))
    predictor.predict_array(image)
    tiles = len(predictor.grid((120, 108)))
    assert asked == [4 // 3, 4 * tiles // 3]


def test_live_networks_are_never_compiled(
    predictor_of: Callable, head: Callable, noise: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_segtrain.inference.moving.maybe_compile", lambda *_, **__: 1 / 0)
    predictor_of({"grey": lambda x: x}, [head("grey")]).predict_array(noise(20, 20))
