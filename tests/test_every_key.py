"""Every key of the schema is read by something that acts on it.

Reads are recorded while the program works, by the class that is read and the place that reads it: an
attribute of the same name elsewhere, a comment, a form or a dump of all values proves nothing.
"""

import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import BaseModel

import napari_segtrain
from napari_segtrain import workflow
from napari_segtrain.config import (
    AuxiliaryTask,
    Config,
    ExperimentConfig,
    NormalisationConfig,
    Optimizer,
    Schedule,
)
from napari_segtrain.config.validation import _flatten
from napari_segtrain.data import Normalisation, make_split, open_layers
from napari_segtrain.training import planned_split
from napari_segtrain.training.optimizers import build_optimizer
from napari_segtrain.training.schedules import Journey, factor

PACKAGE = Path(napari_segtrain.__file__).parent
FORMS = {"config", "cli", "widgets"}
"""What only passes keys on."""


def schema_keys(model=ExperimentConfig, seen=None):
    """Yield class and name of every key; a tag that names its class is none."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        if not (name in ("name", "type") and isinstance(field.default, str)):
            yield model, name
        for inner in _flatten(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from schema_keys(inner, seen)


@pytest.fixture
def reads(monkeypatch):
    """Record which key of which class is read as an attribute by a file of the program, and where."""
    found = {}

    def record(self, name):
        if name in type(self).model_fields:
            path = Path(sys._getframe(1).f_code.co_filename)
            if path.is_relative_to(PACKAGE) and path.relative_to(PACKAGE).parts[0] not in FORMS:
                found.setdefault((type(self), name), set()).add(path)
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Config, "__getattribute__", record, raising=False)
    return found


def use_the_program(config, data, project):
    """Train, score and predict: whatever acts on a key does so here, or in `use_alternatives`."""
    run = workflow.train(config, data, project).path
    workflow.evaluate(run, "val")
    workflow.predict_files(run, data, project / "out", overrides={"instances": True})


def classes(union):
    """Return the tagged classes that a key chooses from."""
    return get_args(get_args(union)[0])


def use_alternatives(disc_image):
    """Use every optimizer, schedule and normalisation, and folds: an experiment has but one of each."""
    for kind in classes(Optimizer):
        build_optimizer(kind(), [torch.nn.Parameter(torch.zeros(2))])
    for kind in classes(Schedule):
        factor(kind(), 9.0, Journey(10, 2))
    image, labels = disc_image((24, 24), 2, 0)
    dataset = open_layers([{"image": image, "labels": {"cells": labels}}])
    for kind in classes(NormalisationConfig):
        Normalisation.fit(kind(), dataset, make_split(dataset))
    two = open_layers([{"id": name, "image": image, "labels": {"cells": labels}} for name in "ab"])
    planned_split(ExperimentConfig().with_overrides({"tr_setup.folds": 2}), two, None)


def test_every_key_is_read_by_something(reads, disc_folder, disc_image, tiny_experiment, tmp_path):
    tasks = {kind.__name__: kind(source_target="cells").to_dict() for kind in classes(AuxiliaryTask)}
    targets = {"cells": {"kind": "binary"}, "nuclei": {"kind": "instances", "labels": "cells"}}
    data = {"dataset_config.targets": targets, "dataset_config.augmentation.shear": 0.1}
    data["tr_config.evaluate_after"] = "held_out"
    config = tiny_experiment(**data, auxiliary_tasks=tasks)
    use_the_program(config, disc_folder(count=2), tmp_path / "P")
    use_alternatives(disc_image)
    keys = list(schema_keys())
    assert len(keys) > 120
    assert [f"{model.__name__}.{name}" for model, name in keys if (model, name) not in reads] == []


def test_a_key_that_nothing_reads_is_noticed(reads, tmp_path):
    class Section(Config):
        used: int = 1
        idle: int = 2

    section = Section()
    code = "section.used\ndef idle(): return 'idle'\n# section.idle"
    exec(compile(code, str(PACKAGE / "training" / "some.py"), "exec"), {"section": section})
    exec(compile("section.idle", str(PACKAGE / "widgets" / "some.py"), "exec"), {"section": section})
    assert section.idle == 2
    assert section.to_dict() == {"used": 1, "idle": 2}
    assert repr(section.replace(idle=3))
    assert {(model.__name__, name) for model, name in reads} == {("Section", "used")}
