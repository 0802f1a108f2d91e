"""Graphs as files (row G5), and the invariants that no edit breaks."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import ConfigError
from napari_segtrain.workflow.graph import (
    NODE_TYPES,
    Graph,
    GraphError,
    graph_from_dict,
    graph_to_dict,
    read_graph,
    write_graph,
)

CHANGES = (
    {"num_epochs": 3},
    {"seed": 7, "patch_size": [32, 32]},
    {"optimizer": {"name": "SGD", "lr": 0.5}},
    {"losses": [{"name": "DiceLoss", "weight": 2.0}]},
    {"base_features": 8, "kernel_sizes": [[3, 3], [3, 3]]},
    {"auxiliary_tasks": {"sdt": {"type": "distance_transform", "source_target": "cells"}}},
)


@st.composite
def edited_graphs(draw):
    """Draw a graph that many edits have made, of which some were refused."""
    graph = Graph()
    coordinates = st.floats(-1e6, 1e6, allow_nan=False)
    for _ in range(draw(st.integers(0, 30))):
        names = [node.name for node in graph.nodes]
        edit = draw(
            st.sampled_from(["add", "connect", "connect", "connect", "move", "configure", "rename", "remove"])
        )
        if edit == "add" or len(names) < 2:
            graph = graph.add(graph.new_node(draw(st.sampled_from(list(NODE_TYPES)))))
            continue
        name, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        if edit == "move":
            graph = graph.move({name: (draw(coordinates), draw(coordinates))})
        elif edit == "remove":
            graph = graph.remove(name)
        elif edit == "rename":
            graph = graph.rename(name, graph.free_name("renamed"))
        elif edit == "connect":
            graph = tried_to_connect(draw, graph, name, other)
        else:
            try:
                graph = graph.configure(name, draw(st.sampled_from(CHANGES)))
            except ConfigError as error:
                assert "unknown key" in str(error)
    return graph


def tried_to_connect(draw, graph, source, target):
    outputs, inputs = graph.node(source).kind.outputs, graph.node(target).kind.inputs
    if not inputs:
        return graph
    link = (source, draw(st.sampled_from(outputs)).name, target, draw(st.sampled_from(inputs)).name)
    reason = graph.refusal(*link)
    try:
        return graph.connect(*link)
    except GraphError as error:
        assert str(error) == reason
        return graph


@settings(max_examples=40, deadline=None)
@given(edited_graphs())
def test_any_edits_leave_a_legal_graph_that_a_file_keeps(graph):
    position = {name: number for number, name in enumerate(graph.order())}
    assert len(position) == len(graph.nodes)
    ends = [(link.target, link.target_port) for link in graph.links]
    assert len(set(ends)) == len(ends)
    for link in graph.links:
        given = graph.node(link.source).kind.output(link.source_port)
        taken = graph.node(link.target).kind.input(link.target_port)
        assert given.type.fits(taken.type)
        assert position[link.source] < position[link.target]
    assert graph_from_dict(json.loads(json.dumps(graph_to_dict(graph)))) == graph
    assert Graph(nodes=graph.nodes, links=graph.links) == graph


def test_a_file_has_the_keys_that_are_documented(training_graph, tmp_path):
    graph = training_graph.configure("trainer", {"num_epochs": 2}).move({"trainer": (1.5, -2)})
    path = write_graph(tmp_path / "train.json", graph)
    values = json.loads(path.read_text())
    assert list(values) == ["nodes", "links"]
    assert values["nodes"][-1] == {
        "name": "trainer",
        "type": "trainer",
        "config": {"num_epochs": 2},
        "position": [1.5, -2.0],
    }
    assert values["links"][0] == {
        "source": "data_loader",
        "source_port": "train_loader",
        "target": "trainer",
        "target_port": "dataloader",
    }
    assert read_graph(path) == graph


def test_the_ends_of_links_may_be_called_nodes(training_graph):
    values = graph_to_dict(training_graph)
    for link in values["links"]:
        link["source_node"], link["target_node"] = link.pop("source"), link.pop("target")
    assert graph_from_dict(values) == training_graph


def test_the_two_wrong_links_of_a_file_are_both_listed(training_nodes):
    wrong = (
        ("data_loader", "train_loader", "unet_model", "input"),
        ("unet_model", "output", "trainer", "model"),
    )
    keys = ("source", "source_port", "target", "target_port")
    links = [dict(zip(keys, ends, strict=True)) for ends in wrong]
    with pytest.raises(GraphError) as refused:
        graph_from_dict({**graph_to_dict(training_nodes), "links": links})
    assert refused.value.faults == (
        "links[0]: data_loader.train_loader → unet_model.input: Cannot connect batch to tensor",
        "links[1]: unet_model.output → trainer.model: Cannot connect tensor to model",
    )
    links[0]["source_node"] = "unet_model"
    with pytest.raises(GraphError, match="source and source_node are both given: they are the same end"):
        graph_from_dict({**graph_to_dict(training_nodes), "links": links[:1]})


BAD = {
    "nodes": [
        {"name": "data_loader", "type": "data_loader", "config": {"batchsize": 2, "train_split": 3}},
        {"name": "net", "type": "unet", "config": {}},
        {"name": "loss", "type": "loss_function", "config": [], "position": [1]},
        {"name": "a.b", "type": "trainer"},
        {"type": "trainer", "colour": "red"},
        {"name": "trainer", "type": "trainer"},
        {"name": "trainer", "type": "trainer"},
        {"name": "unet_model", "type": "unet_model"},
        7,
    ],
    "links": [
        {
            "source": "data_loader",
            "source_port": "train_loader",
            "target": "trainer",
            "target_port": "dataloader",
        },
        {"source": "unet_model", "source_port": "output", "target": "trainer", "target_port": "model"},
        {
            "source_node": "trainer",
            "source_port": "model",
            "target_node": "unet_model",
            "target_port": "input",
        },
        {"source": "unet_model", "source_port": "model", "target": "trainer"},
        {"source": "nowhere", "source_port": "model", "target": "trainer", "target_port": "model"},
    ],
    "version": 1,
}


def test_a_bad_file_is_refused_with_all_its_faults(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(BAD))
    with pytest.raises(GraphError) as refused:
        read_graph(path)
    assert str(refused.value).startswith(f"{path}: 15 faults\n- ")
    begins = (
        "version: unknown key. Allowed: links, nodes.",
        "nodes[0].config.train_split: 3 is not allowed",
        "nodes[0].config.batchsize: unknown key. Did you mean 'batch_size'?",
        "nodes[1].type: node type 'unet' is unknown. Did you mean 'unet_model'?",
        "nodes[2].config: [] is not allowed: give keys and their values",
        "nodes[2].position: [1] is not allowed: give two numbers, [x, y]",
        "nodes[3].name: 'a.b' is not allowed",
        "nodes[4].colour: unknown key. Allowed: config, name, position, type.",
        "nodes[4].name: the key is required",
        "nodes[6]: two nodes are called 'trainer'; give one another name",
        "nodes[8]: 7 is not a node: give keys, name, type, config, position",
        "links[1]: unet_model.output → trainer.model: Cannot connect tensor to model",
        "links[2]: trainer.model → unet_model.input: Cannot connect model to tensor",
        "links[3].target_port: the key is required",
        "links[4]: nowhere.model → trainer.model: there is no node 'nowhere'",
    )
    for fault, begin in zip(refused.value.faults, begins, strict=True):
        assert fault.startswith(begin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "g.json: is not valid JSON, line 1: "),
        ("[]", "g.json: [] is not a graph: give keys, nodes, links"),
        ("{}", "g.json: 2 faults\n- nodes: the key is required\n- links: the key is required"),
        ('{"nodes": {}, "links": []}', "g.json: nodes: {} is not allowed: give a list"),
        (
            '{"nodes": [{"name": "a", "type": "repeat", "position": [NaN, 1]}], "links": []}',
            "g.json: nodes[0].position.0: nan is not allowed",
        ),
        (
            '{"nodes": [{"name": "a", "type": "repeat", "position": [1%s, 0]}], "links": []}' % ("0" * 400),
            "g.json: nodes[0].position: [100000000000000000000000000000000000... is not allowed: give two",
        ),
        ("1" * 5000, "g.json: is not valid JSON"),
        (b"\xff\xfe", "g.json: is not valid JSON"),
        (None, "g.json: cannot be read (No such file or directory); give the path of a graph"),
    ],
)
def test_a_file_that_is_no_graph_is_refused_in_words(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "g.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(GraphError) as refused:
        read_graph("g.json")
    assert str(refused.value).startswith(message)


def test_a_file_that_cannot_be_written_is_refused_in_words(training_graph, tmp_path):
    with pytest.raises(GraphError, match=r"cannot be written \(No such file or directory\); choose another"):
        write_graph(tmp_path / "no" / "g.json", training_graph)
