"""Properties of the package as a whole: what importing it costs, and that no key of the schema is idle."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

import napari_segtrain
from napari_segtrain.config import ExperimentConfig
from napari_segtrain.config.validation import _flatten

PACKAGE = Path(napari_segtrain.__file__).parent
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


def test_help_needs_no_heavy_library():
    loaded = modules_after(
        "import contextlib\n"
        "from napari_segtrain.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])"
    )
    assert not loaded & (GUI | {"torch", "lightning", "zarr", "numba", "scipy", "skimage"})


@pytest.mark.slow
def test_training_and_prediction_run_without_napari_and_qt():
    rooms = ["config", "data", "engine", "evaluation", "inference", "losses", "network", "runs", "targets"]
    names = ", ".join(f"napari_segtrain.{room}" for room in [*rooms, "training", "workflow", "cli"])
    assert not modules_after(f"import {names}") & GUI


def test_the_public_names_are_there():
    assert napari_segtrain.ExperimentConfig is ExperimentConfig
    assert set(napari_segtrain.__all__) <= set(dir(napari_segtrain))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        napari_segtrain.nothing  # noqa: B018


def schema_keys(model=ExperimentConfig, seen=None):
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model.__name__, name
        for inner in _flatten(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from schema_keys(inner, seen)


def read_attributes():
    """Return every attribute that code outside config/ reads."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        if "config" in path.relative_to(PACKAGE).parts[:1]:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        }
    return names


def test_every_key_is_read_by_something():
    # A section reads its keys as attributes; an augmentation's probability may be read by name.
    read = read_attributes()
    text = "".join(p.read_text(encoding="utf-8") for p in (PACKAGE / "data" / "augmentation").glob("*.py"))
    idle = [
        f"{model}.{name}"
        for model, name in schema_keys()
        if name not in read and not (model == "AugmentationConfig" and f'"{name}"' in text)
    ]
    assert idle == []
