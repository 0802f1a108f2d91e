"""The rules of links (rows G1 and G2) and what an edit changes."""

import pytest

from napari_segtrain.config import ConfigError
from napari_segtrain.workflow.graph import NODE_TYPES, Graph, GraphError, Link, Node, Port, PortType

T = PortType


@pytest.mark.parametrize("taken", T)
@pytest.mark.parametrize("given", T)
def test_types_fit_when_they_are_equal_or_one_is_any(given, taken):
    assert given.fits(taken) is (given == taken or "any" in (given, taken))


GIVES = {
    T.TENSOR: ("image_layer", "image"),
    T.MODEL: ("unet_model", "model"),
    T.BATCH: ("data_loader", "train_loader"),
    T.LOSS: ("loss_function", "loss_fn"),
    T.OPTIMIZER: ("optimizer", "optimizer"),
    T.METRICS: ("metrics", "metrics"),
    T.ANY: ("repeat", "last"),
}
TAKES = {
    T.TENSOR: ("vnet_model", "input"),
    T.MODEL: ("trainer", "model"),
    T.BATCH: ("trainer", "dataloader"),
    T.LOSS: ("trainer", "loss_fn"),
    T.OPTIMIZER: ("trainer", "optimizer"),
    T.ANY: ("again", "step"),
}


@pytest.mark.parametrize("taken", TAKES)
@pytest.mark.parametrize("given", GIVES)
def test_connection_table(make, given, taken):
    graph = make([*(node for node, _ in GIVES.values()), "vnet_model", "trainer", "again:repeat"])
    link = (*GIVES[given], *TAKES[taken])
    if given == taken or T.ANY in (given, taken):
        assert graph.connect(*link).links == (Link(**dict(zip(Link.model_fields, link, strict=True))),)
        return
    before = graph.model_copy(deep=True)
    with pytest.raises(GraphError) as refused:
        graph.connect(*link)
    assert str(refused.value) == f"Cannot connect {given.value} to {taken.value}"
    assert graph == before


MISTAKES = {
    "loader to the network's input": (
        "data_loader.train_loader unet_model.input",
        "Cannot connect batch to tensor",
    ),
    "prediction to the trainer": ("unet_model.output trainer.model", "Cannot connect tensor to model"),
    "prediction to the optimizer": ("unet_model.output optimizer.model", "Cannot connect tensor to model"),
    "network as loader": ("unet_model.model trainer.dataloader", "Cannot connect model to batch"),
    "loss as optimizer": ("loss_function.loss_fn trainer.optimizer", "Cannot connect loss to optimizer"),
    "optimizer as loss": ("optimizer.optimizer trainer.loss_fn", "Cannot connect optimizer to loss"),
    "scores as a network": ("trainer.metrics optimizer.model", "Cannot connect metrics to model"),
    "output to output": (
        "unet_model.model trainer.metrics",
        "Cannot connect output to output: a link leads from an output to an input",
    ),
    "input to input": (
        "optimizer.model trainer.model",
        "Cannot connect input to input: a link leads from an output to an input",
    ),
    "backwards": (
        "trainer.model unet_model.model",
        "Cannot connect output to output: a link leads from an output to an input",
    ),
    "to itself": ("unet_model.output unet_model.input", "Cannot connect node 'unet_model' to itself"),
    "no such output": (
        "unet_model.modle trainer.model",
        "node 'unet_model' has no output 'modle'. Did you mean 'model'? Allowed: model, output.",
    ),
    "no such input": (
        "unet_model.model trainer.net",
        "node 'trainer' has no input 'net'. Allowed: dataloader, loss_fn, model, optimizer.",
    ),
    "no inputs at all": (
        "unet_model.model data_loader.model",
        "node 'data_loader' has no input 'model', nor any other input",
    ),
    "no such node": (
        "unet.model trainer.model",
        "there is no node 'unet'. Did you mean 'unet_model'? "
        "Allowed: data_loader, loss_function, optimizer, trainer, unet_model.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_link_is_refused_with_its_message(training_nodes, mistake):
    ends, message = MISTAKES[mistake]
    link = [part for end in ends.split() for part in end.split(".")]
    assert training_nodes.refusal(*link) == message
    with pytest.raises(GraphError) as refused:
        training_nodes.connect(*link)
    assert str(refused.value) == message
    assert training_nodes.links == ()


def test_an_input_has_one_link_and_an_output_many(training_graph, five_links):
    assert len(training_graph.links) == 5  # unet_model.model has two of them
    with pytest.raises(GraphError, match=r"^Connection already exists$"):
        training_graph.connect(*five_links[1])
    graph = training_graph.add(training_graph.new_node("unet_model"))
    with pytest.raises(GraphError, match=r"^Input 'model' on node 'trainer' is already connected$"):
        graph.connect("unet_model_2", "model", "trainer", "model")


def test_a_circle_is_refused(training_graph):
    graph = training_graph.disconnect("unet_model", "model", "optimizer", "model")
    assert graph.refusal("trainer", "model", "optimizer", "model") == "Cycle detected in computational graph"
    with pytest.raises(GraphError, match=r"^Cycle detected in computational graph$"):
        graph.connect("trainer", "model", "optimizer", "model")
    nodes = (Node(name=name, type="repeat", config=NODE_TYPES["repeat"].config()) for name in "ab")
    links = [
        {"source": s, "source_port": "last", "target": t, "target_port": "step"} for s, t in ("ab", "ba")
    ]
    with pytest.raises(GraphError, match="Cycle detected in computational graph"):
        Graph(nodes=tuple(nodes), links=links)


def test_order_and_dependence(training_graph):
    order = training_graph.order()
    assert all(order.index(link.source) < order.index(link.target) for link in training_graph.links)
    assert training_graph.upstream("optimizer") == {"unet_model", "optimizer"}
    assert training_graph.downstream("optimizer") == {"optimizer", "trainer"}


def test_edits_return_another_graph_and_leave_the_old_one(training_graph):
    before = training_graph.model_copy(deep=True)
    moved = training_graph.move({"trainer": (3.0, 4.0)})
    assert moved.node("trainer").position == (3.0, 4.0)
    set_up = moved.configure("optimizer", {"optimizer": {"name": "SGD", "lr": 0.5}})
    assert set_up.node("optimizer").config.optimizer.lr == 0.5
    renamed = set_up.rename("unet_model", "net")
    assert {link.source for link in renamed.links} == {"data_loader", "net", "loss_function", "optimizer"}
    removed = renamed.remove("net")
    assert [str(link) for link in removed.links] == [
        "data_loader.train_loader → trainer.dataloader",
        "loss_function.loss_fn → trainer.loss_fn",
        "optimizer.optimizer → trainer.optimizer",
    ]
    assert training_graph == before


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: g.new_node("unet"), "node type 'unet' is unknown. Did you mean 'unet_model'?"),
        (lambda g: g.new_node("repeat", "a.b"), "a node cannot be called 'a.b'"),
        (lambda g: g.add(g.node("trainer")), "two nodes are called 'trainer'"),
        (lambda g: g.rename("trainer", "optimizer"), "two nodes are called 'optimizer'"),
        (lambda g: g.rename("trainer", "2"), "a node cannot be called '2'"),
        (lambda g: g.remove("tariner"), "there is no node 'tariner'. Did you mean 'trainer'?"),
        (lambda g: Graph().node("x"), "there is no node 'x': the graph is empty"),
        (
            lambda g: g.disconnect("a", "b", "c", "d"),
            "there is no link a.b → c.d",
        ),
        (
            lambda g: g.configure("trainer", NODE_TYPES["repeat"].config()),
            "node 'trainer': a trainer has TrainerParameters, not RepeatParameters",
        ),
        (
            lambda g: g.configure("trainer", {"num_epoch": 2}),
            "node 'trainer': num_epoch: unknown key. Did you mean 'num_epochs'?",
        ),
        (lambda g: g.configure("trainer", {"num_epochs": 0}), "node 'trainer': num_epochs: 0 is not allowed"),
        (
            lambda g: g.configure("data_loader", {"patch_size": [1, 2]}),
            "node 'data_loader': patch_size: patch size 1,2 is not usable",
        ),
    ],
)
def test_an_edit_that_cannot_be_is_refused_in_words(training_graph, edit, message):
    before = training_graph.model_copy(deep=True)
    with pytest.raises((GraphError, ConfigError)) as refused:
        edit(training_graph)
    assert str(refused.value).startswith(message)
    assert training_graph == before


def test_a_port_says_its_type():
    assert Port(name="model", type=T.MODEL).label == "model (MODEL)"


def test_what_was_asked_of_a_graph_is_no_part_of_it(training_graph):
    other = training_graph.replace(links=training_graph.links)
    before = repr(other), other.to_dict()
    links = other.links_into("trainer")
    assert other.downstream("trainer") == {"trainer"} and len(links) == 4
    assert other == training_graph == training_graph.replace()
    assert (repr(other), other.to_dict()) == before
    fewer = other.disconnect("loss_function", "loss_fn", "trainer", "loss_fn")
    assert len(fewer.links_into("trainer")) == 3 and other.links_into("trainer") == links
