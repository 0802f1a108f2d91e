import pytest
import yaml

from napari_segtrain.cli import main

SMALL = {
    "tr_setup": {"device": "cpu", "num_workers": 0},
    "tr_config": {
        "patch_size": [32, 32],
        "batch_size": 2,
        "num_epochs": 1,
        "steps_per_epoch": 1,
        "val_steps": 1,
        "evaluate_after": "none",
    },
    "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
    "inference_config": {"overlap": 0.0},
}


@pytest.fixture(scope="session")
def settings():
    """Return an experiment that trains in a moment, as its file has it."""
    return SMALL


@pytest.fixture
def small(tmp_path, settings):
    """Return the file of such an experiment."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def run(capsys):
    """Return a function that runs a command and returns its exit code and what it printed."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call
