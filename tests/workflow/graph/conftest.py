import pytest

from napari_segtrain.workflow.graph import Graph

TRAINING_NODES = ("data_loader", "unet_model", "loss_function", "optimizer", "trainer")
FIVE_LINKS = (
    ("data_loader", "train_loader", "trainer", "dataloader"),
    ("unet_model", "model", "trainer", "model"),
    ("loss_function", "loss_fn", "trainer", "loss_fn"),
    ("unet_model", "model", "optimizer", "model"),
    ("optimizer", "optimizer", "trainer", "optimizer"),
)


def make_graph(nodes, links=()):
    """Return a graph of nodes that are called as their types, or ``name:type``, and links ``"a.p b.q"``."""
    graph = Graph()
    for said in nodes:
        name, _, kind = said.partition(":")
        graph = graph.add(graph.new_node(kind or name, name))
    for link in links:
        graph = graph.connect(*(link.replace(".", " ").split() if isinstance(link, str) else link))
    return graph


@pytest.fixture
def make():
    return make_graph


@pytest.fixture
def training_graph():
    """The five-link training graph."""
    return make_graph(TRAINING_NODES, FIVE_LINKS)


@pytest.fixture
def training_nodes():
    """The nodes of the training graph, not connected yet."""
    return make_graph(TRAINING_NODES)


@pytest.fixture
def five_links():
    return FIVE_LINKS
