"""The workflows in `examples/`, from the command line on real images: a run, and what is done with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

WORKFLOWS = Path(__file__).parents[2] / "examples" / "workflows"
SHORT = (
    *("data_loader.steps_per_epoch=2", "data_loader.val_steps=1", "data_loader.batch_size=2"),
    *("data_loader.patch_size=[64, 64]", "data_loader.seed=1"),
)
TRAINER = ("trainer.num_epochs=1", "trainer.evaluate_after=none", "trainer.device=cpu")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nuclei() -> Path:
    root = os.environ.get("SEGTRAIN_DATA")
    if not root:
        pytest.skip("SEGTRAIN_DATA does not name the labelled data sets")
    return Path(root) / "dsb2018_fluo"


def given(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


def called(run: Run, command: str, name: str, *words: Any) -> str:
    code, out, err = run("workflow", command, WORKFLOWS / f"{name}.json", *words)
    assert code == 0, f"{name}: {out}{err}"
    return out


@pytest.mark.slow
@pytest.mark.data
def test_the_examples_train_predict_evaluate_and_go_on_learning(
    run: Run, nuclei: Path, tmp_path: Path
) -> None:
    data, project = f"data_loader.data={nuclei}", f"trainer.project={tmp_path / 'P'}"
    network = ("unet_model.base_features=4", "unet_model.max_poolings=2")
    called(run, "check", "train", *given(data, project))
    called(run, "run", "train", *given(data, project, *SHORT, *TRAINER, *network))
    trained = tmp_path / "P" / "runs" / "base"
    image = sorted((nuclei / "images").glob("*.tif"))[0]
    loaded = f"checkpoint_loader.run={trained}"

    written = {}
    for name, options in (("predict", ("predictor.mirroring=false",)), ("direct", ())):
        out = tmp_path / name
        words = given(loaded, f"image_layer.image={image}", *options)
        called(run, "check", name, *words)
        called(run, "run", name, *words, "-o", out)
        [file] = out.glob(f"{image.stem}_*.tif")
        written[name] = tifffile.imread(file)
    assert written["predict"].shape == written["direct"].shape == tifffile.imread(image).shape[:2]

    said = called(run, "run", "evaluate", *given(loaded, data))
    assert "metrics.metrics:" in said and "dice" in said

    again = given(loaded, data, project, *SHORT, *TRAINER, "trainer.run_name=finer")
    called(run, "run", "fine_tune", *again)
    assert (tmp_path / "P" / "runs" / "finer" / "checkpoints").is_dir()

    steps = given(data, *SHORT, *network, "repeat.rounds=2", "initialize_optimizer.device=cpu")
    assert "repeat" in called(run, "run", "stepwise", *steps)


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.json")), ids=lambda path: path.stem)
def test_each_example_is_checked_from_the_command_line(run: Run, path: Path) -> None:
    out = called(run, "check", path.stem)
    assert "is not set" in out, "what the user has to say"
