"""The table of node types (rows G3, G4 and G6)."""

import pytest

from napari_segtrain.config import AdamW, ExperimentConfig
from napari_segtrain.workflow.graph import NODE_TYPES, Parameters, PortType
from napari_segtrain.workflow.graph.ports import Kind

EVERY_TYPE = {
    "data_loader": ("", "train_loader:batch val_loader:batch test_loader:batch"),
    "image_layer": ("", "image:tensor"),
    "unet_model": ("input:tensor", "output:tensor model:model"),
    "vnet_model": ("input:tensor", "output:tensor model:model"),
    "network_from_config": ("input:tensor", "output:tensor model:model"),
    "checkpoint_loader": ("input:tensor", "output:tensor model:model"),
    "loss_function": ("", "loss_fn:loss"),
    "optimizer": ("model:model*", "optimizer:optimizer"),
    "trainer": (
        "dataloader:batch* model:model* loss_fn:loss* optimizer:optimizer*",
        "model:model metrics:metrics",
    ),
    "predictor": (
        "model:model* image:tensor dataloader:batch",
        "predictions:tensor all_predictions:tensor all_labels:tensor",
    ),
    "metrics": ("predictions:tensor* labels:tensor*", "metrics:metrics"),
    "initialize_optimizer": ("model:model*", "optimizer:optimizer"),
    "prepare_batch": ("dataloader:batch*", "batch:batch"),
    "zero_gradients": ("optimizer:optimizer*", "optimizer:optimizer"),
    "forward_pass": ("model:model* batch:batch*", "prediction:tensor"),
    "calculate_loss": ("prediction:tensor* batch:batch* loss_fn:loss*", "loss:loss"),
    "backward_pass": ("optimizer:optimizer* loss:loss*", "gradients:tensor"),
    "optimizer_step": (
        "optimizer:optimizer* gradients:tensor*",
        "optimizer:optimizer step_info:metrics model:model",
    ),
    "repeat": ("step:any*", "last:any history:metrics"),
}
"""Inputs and outputs; a star is a required input."""


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_every_type_has_its_ports(name):
    kind = NODE_TYPES[name]
    inputs = " ".join(f"{port.name}:{port.type}" + "*" * port.required for port in kind.inputs)
    outputs = " ".join(f"{port.name}:{port.type}" for port in kind.outputs)
    assert (inputs, outputs) == EVERY_TYPE[name]
    assert kind.title and kind.text.endswith(".")
    assert all(port.text.endswith(".") for port in (*kind.inputs, *kind.outputs))
    assert kind.config().amended({}, "") == kind.config()


def test_there_are_no_other_types():
    assert list(NODE_TYPES) == [*EVERY_TYPE]
    assert {port.type for kind in NODE_TYPES.values() for port in kind.outputs} == set(PortType)


PORT_REFERENCE = {
    "data_loader": ("", "train_loader:training val_loader:inference test_loader:inference"),
    "image_layer": ("", "image:inference"),
    "unet_model": ("input:inference", "output:inference model:both"),
    "vnet_model": ("input:inference", "output:inference model:both"),
    "network_from_config": ("input:inference", "output:inference model:both"),
    "checkpoint_loader": ("input:inference", "output:inference model:both"),
    "loss_function": ("", "loss_fn:training"),
    "optimizer": ("model:training", "optimizer:training"),
    "trainer": (
        "dataloader:training model:training loss_fn:training optimizer:training",
        "model:both metrics:both",
    ),
    "predictor": (
        "model:inference image:inference dataloader:inference",
        "predictions:inference all_predictions:inference all_labels:inference",
    ),
    "metrics": ("predictions:inference labels:inference", "metrics:inference"),
    "initialize_optimizer": ("model:training", "optimizer:training"),
    "prepare_batch": ("dataloader:training", "batch:training"),
    "zero_gradients": ("optimizer:training", "optimizer:training"),
    "forward_pass": ("model:training batch:training", "prediction:both"),
    "calculate_loss": ("prediction:training batch:training loss_fn:training", "loss:training"),
    "backward_pass": ("optimizer:training loss:training", "gradients:training"),
    "optimizer_step": (
        "optimizer:training gradients:training",
        "optimizer:training step_info:training model:both",
    ),
    "repeat": ("step:training", "last:both history:both"),
}


@pytest.mark.parametrize("name", NODE_TYPES)
def test_port_quick_reference(name):
    kind = NODE_TYPES[name]
    found = tuple(
        " ".join(f"{port.name}:{port.use}" for port in ports) for ports in (kind.inputs, kind.outputs)
    )
    assert found == PORT_REFERENCE[name]


def test_every_input_has_an_output_that_gives_what_it_takes():
    kinds = NODE_TYPES.values()
    given = {kind for each in kinds for port in each.outputs for kind in port.kinds}
    assert given == set(Kind)
    for port in (port for each in kinds for port in each.inputs):
        assert set(port.kinds) <= given
        assert bool(port.kinds) == (port.type is not PortType.ANY)
    for each in kinds:
        for port in each.outputs:
            assert not port.follows or each.input(port.follows)
            assert len(port.kinds) == (port.type is not PortType.ANY)


def test_a_training_graph_holds_every_key_of_the_experiment_once(training_graph):
    places = [place for node in training_graph.nodes for place in node.config.places().values()]
    assert len(places) == len(set(places))
    keys = {
        (field.alias or name, key)
        for name, field in ExperimentConfig.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {"": None})
    }
    whole = {section for section, key in places if not key}
    assert {key for key in keys if key[0] not in whole} == {place for place in places if place[1]}
    assert whole == {"inference_config", "auxiliary_tasks"}


def test_parameters_and_experiment_are_translated_into_each_other(training_graph):
    experiment = ExperimentConfig().with_overrides(
        {
            "tr_config.optimizer": {"name": "SGD", "lr": 0.5},
            "tr_config.patch_size": [32, 32],
            "model_config.base_features": 8,
            "dataset_config.targets": {"cells": {"kind": "binary"}},
            "auxiliary_tasks": {"sdt": {"type": "distance_transform", "source_target": "cells"}},
            "inference_config.overlap": 0.25,
            "tr_setup.compile": "on",
        }
    )
    sections = {}
    for node in training_graph.nodes:
        config = type(node.config).of_experiment(experiment)
        for section, values in config.to_sections().items():
            sections.setdefault(section, {}).update(values)
    assert ExperimentConfig.parse(sections) == experiment


def test_parameters_describe_themselves_as_the_schema_does():
    for kind in NODE_TYPES.values():
        for name, field in kind.config.model_fields.items():
            assert field.title and field.description, f"{kind.name}.{name}"
    declared = NODE_TYPES["optimizer"].config.model_fields["optimizer"]
    assert declared.title == "Optimizer"
    assert isinstance(NODE_TYPES["optimizer"].config().optimizer, AdamW)
    assert NODE_TYPES["data_loader"].config.model_fields["batch_size"].metadata
    assert issubclass(NODE_TYPES["unet_model"].config, Parameters)
