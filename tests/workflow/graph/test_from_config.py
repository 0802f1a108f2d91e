"""Experiments as graphs and back, and the graphs to begin with; none of it needs torch."""

from pathlib import Path

import pytest

from napari_segtrain.config import ConfigError, ExperimentConfig, load_config
from napari_segtrain.workflow.graph import GraphError, find_faults, read_graph
from napari_segtrain.workflow.graph.from_config import experiment_of, graph_of, recipe_of
from napari_segtrain.workflow.graph.templates import TEMPLATES, template

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_an_experiment_is_a_graph_and_the_graph_the_experiment(file):
    config = load_config(file)
    recipe = experiment_of(graph_of(config, "cells", "project"))
    assert recipe.config == config
    assert (recipe.data, recipe.project) == ("cells", "project")


def test_every_key_of_an_experiment_has_a_node(training_graph):
    changed = ExperimentConfig().with_overrides(
        {
            "tr_setup.seed": 3,
            "tr_setup.precision": "fp32",
            "tr_config.accumulate": 2,
            "tr_config.max_time": 5.0,
            "model_config.architecture": "vnet",
            "inference_config.overlap": 0.25,
        }
    )
    graph = graph_of(changed)
    assert graph.has("vnet_model")
    assert experiment_of(graph).config == changed
    assert experiment_of(training_graph).config == ExperimentConfig()
    nodes = training_graph.new_node("unet_model").config, training_graph.new_node("vnet_model").config
    assert [config.architecture for config in nodes] == ["unet", "vnet"]


def test_an_experiment_that_nodes_cannot_be_together_is_refused(training_graph):
    two = training_graph.configure("data_loader", {"patch_size": (64, 64)}).configure(
        "unet_model", {"strides": ((1, 1), (2, 2))}
    )
    assert experiment_of(two).config.network.strides == ((1, 1), (2, 2))
    with pytest.raises(ConfigError):
        training_graph.configure("data_loader", {"fold": 1})
    with pytest.raises(GraphError, match="a graph with one trainer, and this one has 0"):
        experiment_of(template("predict"))
    assert recipe_of(template("predict"), "predictor").data is None


@pytest.mark.parametrize("name", TEMPLATES)
def test_examples_are_the_templates_and_have_no_faults(name):
    graph, file = template(name), read_graph(EXAMPLES / "workflows" / f"{name}.json")
    assert find_faults(graph) == find_faults(file) == ()
    assert {node.name: node.type for node in file.nodes} == {node.name: node.type for node in graph.nodes}
    assert file.links == graph.links
    # Those that train end within minutes; where nodes are drawn may change with how they are drawn.
    trains = any(node.kind.category == "training" for node in graph.nodes)
    changed = [node.name for node in file.nodes if node.config != graph.node(node.name).config]
    assert bool(changed) == trains
    if file.has("trainer"):
        training = experiment_of(
            file.configure("checkpoint_loader", {"run": "r"}) if name == "fine_tune" else file
        )
        said = training.config.tr_config
        assert said.num_epochs * said.steps_per_epoch * said.batch_size <= 2000
    elif trains:
        assert file.node("repeat").config.rounds <= 200


def test_the_training_example_has_exactly_the_five_nodes_and_links(training_graph):
    graph = read_graph(EXAMPLES / "workflows" / "train.json")
    assert {node.name: node.type for node in graph.nodes} == {n.name: n.type for n in training_graph.nodes}
    assert set(graph.links) == set(training_graph.links)


def test_an_unknown_template_names_the_nearest():
    with pytest.raises(GraphError, match="Did you mean 'train'"):
        template("trian")
