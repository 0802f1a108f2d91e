"""Where nodes are drawn."""

from itertools import combinations

from napari_segtrain.workflow.graph import Graph
from napari_segtrain.workflow.graph.arrange import arrange, height_of, width_of


def boxes(graph):
    places = arrange(graph)
    return {n.name: (*places[n.name], width_of(n), height_of(n)) for n in graph.nodes}


def test_links_lead_to_the_right_and_nodes_lie_beside_each_other(training_graph):
    graph = training_graph
    for number in range(20):
        graph = graph.add(graph.new_node("repeat"))
        source = f"repeat_{number}" if number > 1 else "repeat"
        if number:
            graph = graph.connect(source, "last", f"repeat_{number + 1}", "step")
    found = boxes(graph)
    for link in graph.links:
        x, _, width, _ = found[link.source]
        assert x + width < found[link.target][0]
    for (x, y, width, height), (u, v, wide, high) in combinations(found.values(), 2):
        assert x + width <= u or u + wide <= x or y + height <= v or v + high <= y


def test_a_link_that_passes_a_column_has_its_way(training_graph):
    found = boxes(training_graph)
    x, y, _, high = found["optimizer"]  # the network's model leads past it to the trainer
    level = (found["unet_model"][1] + found["trainer"][1]) / 2 + 66
    assert found["unet_model"][0] < x < found["trainer"][0]
    assert not y <= level <= y + high


def test_nothing_is_arranged_where_nothing_is():
    assert arrange(Graph()) == {}
