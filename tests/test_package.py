"""Properties of the package as a whole: what importing it costs, and its public names."""

import json
import subprocess
import sys

import pytest

import napari_segtrain
from napari_segtrain.config import ExperimentConfig

GUI = {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PyQt6", "PySide6"}


def modules_after(statement):
    """Return the top-level modules that a fresh interpreter has loaded after `statement`."""
    listing = "import json, sys\nprint(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    command = [sys.executable, "-c", f"{statement}\n{listing}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(out.stdout.splitlines()[-1]))


def test_importing_the_package_loads_neither_torch_nor_napari():
    loaded = modules_after("import napari_segtrain")
    assert not loaded & (GUI | {"torch", "numpy", "lightning", "zarr", "numba", "pydantic"})


def test_graphs_are_declared_without_torch_and_napari():
    loaded = modules_after("from napari_segtrain.workflow.graph import NODE_TYPES, Graph")
    assert not loaded & (GUI | {"torch", "numpy", "lightning", "zarr", "numba"})


def test_help_needs_no_heavy_library():
    loaded = modules_after(
        "import contextlib\n"
        "from napari_segtrain.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])"
    )
    assert not loaded & (GUI | {"torch", "lightning", "zarr", "numba", "scipy", "skimage"})


@pytest.mark.slow
def test_training_and_prediction_run_without_what_napari_needs(disc_folder, tmp_path):
    # What `pip install napari-segtrain` alone does not bring cannot be imported here.
    blocked = [*sorted(GUI), "dask", "distributed", "sklearn", "hypothesis"]
    arguments = ["--set", "model_config.base_features=4", "--patch-size", "32,32", "--device", "cpu"]
    train = ["train", "-i", "data", "-o", "P", "--num-epochs", "1", "--steps-per-epoch", "1", *arguments]
    commands = [
        [*train, "--run-name", "r"],
        ["evaluate", "P/runs/r", "--split", "val"],
        ["predict", "P/runs/r", "-i", "data", "-o", "out"],
        ["check", "-i", "data"],
        ["plan", "-i", "data"],
        ["doctor"],
    ]
    script = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
from napari_segtrain.cli import main
import napari_segtrain.engine.serve
for command in {commands}:
    try:
        main(command)
    except SystemExit as stop:
        assert not stop.code, (command, stop.code)
"""
    disc_folder(count=2)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "out").glob("*_cells.tif"))) == 2


def test_the_public_names_are_there():
    assert napari_segtrain.ExperimentConfig is ExperimentConfig
    assert set(napari_segtrain.__all__) <= set(dir(napari_segtrain))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        napari_segtrain.nothing  # noqa: B018
