"""Fine-tuning: a training that begins with the weights of another run."""

import pytest
import torch

from napari_segtrain.config import SegtrainError
from napari_segtrain.runs import LAST, load_checkpoint
from napari_segtrain.workflow import train

SHORT = {"tr_config.num_epochs": 1, "tr_config.steps_per_epoch": 1}
STILL = {"tr_config.optimizer": {"name": "AdamW", "lr": 0.0}}


def weights(run):
    return load_checkpoint(run.path / "checkpoints" / LAST)["model"]


@pytest.fixture
def data(disc_folder):
    return disc_folder()


@pytest.mark.parametrize("architecture", ["unet", "vnet"])
def test_a_training_begins_with_the_weights_it_is_given(tmp_path, data, tiny_experiment, architecture):
    kind = {**SHORT, "model_config.architecture": architecture}
    first = train(tiny_experiment(**kind), data, tmp_path)
    again = tiny_experiment(**kind, **STILL, **{"tr_setup.seed": 1, "model_config.weights": str(first.path)})
    events = []
    second = train(again, data, tmp_path, emit=events.append)
    before, after = weights(first), weights(second)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    said = [event.message for event in events if event.event == "warned"]
    assert any(s.startswith("the network begins with the weights of") for s in said)


def test_outputs_that_the_run_did_not_have_are_new_and_another_encoder_is_refused(
    tmp_path, data, tiny_experiment
):
    first = train(tiny_experiment(**SHORT), data, tmp_path)
    given = {**SHORT, **STILL, "model_config.weights": str(first.path)}
    edges = {"edges": {"type": "distance_transform", "source_target": "cells"}}
    events = []
    more = train(tiny_experiment(**given, auxiliary_tasks=edges), data, tmp_path, emit=events.append)
    said = [event.message for event in events if event.event == "warned"]
    assert any(s.endswith("new are the outputs edges") for s in said)
    before, after = weights(first), weights(more)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert set(after) > set(before)
    other = tiny_experiment(**given, **{"model_config.base_features": 8})
    with pytest.raises(SegtrainError, match=r"has another encoder than this experiment .* config\.yaml"):
        train(other, data, tmp_path)


def test_a_run_that_is_resumed_needs_the_weights_no_more(tmp_path, data, tiny_experiment):
    first = train(tiny_experiment(**SHORT), data, tmp_path, run_name="first")
    config = tiny_experiment(**{"model_config.weights": str(first.path)})
    half = train(config, data, tmp_path, run_name="second", stop_after=1)
    whole = train(config, data, tmp_path, run_name="third")
    first.path.rename(tmp_path / "elsewhere")
    resumed = train(config, data, tmp_path, resume=half.path)
    a, b = weights(whole), weights(resumed)
    assert all(torch.equal(a[name], b[name]) for name in a)
