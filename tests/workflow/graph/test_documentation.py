"""The tables of the workflow page are what the code does."""

from pathlib import Path

import pytest

from napari_segtrain.workflow.graph import (
    CYCLE,
    EXISTS,
    NODE_TYPES,
    Graph,
    GraphError,
    PortType,
    refuse_faults,
    template,
)

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "workflow.md").read_text(encoding="utf-8")
NETWORKS = ("unet_model", "vnet_model", "network_from_config", "checkpoint_loader")


def table(begin):
    """Return the cells below a heading, row by row."""
    rows = PAGE.partition(f"{begin}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_five_links_are_those_of_the_template():
    links = {tuple(cell.strip("`") for cell in row) for row in table("| from | to |")}
    assert links == {
        (f"{k.source}.{k.source_port}", f"{k.target}.{k.target_port}") for k in template("train").links
    }


def test_ports_are_used_as_the_page_says():
    rows = table("| port | type | training | prediction |")
    said = {}
    for ports, kind, training, prediction in rows:
        uses = {"training": training, "inference": prediction}
        used = [use for use, cell in uses.items() if cell not in ("–", "left open")]
        for name in ports.replace("network ", "").replace("`", "").split(", "):
            said[name] = (PortType[kind], used[0] if len(used) == 1 else "both")
    for network in NETWORKS:
        kind = NODE_TYPES[network]
        for port in (*kind.inputs, *kind.outputs):
            assert said[port.name] == (port.type, port.use)
    loaders = NODE_TYPES["data_loader"].outputs
    assert {port.name: (port.type, port.use) for port in loaders}.items() <= said.items()
    assert set(said) == {"input", "output", "model", *(port.name for port in loaders)}


REFUSED = {
    "Cannot connect batch to tensor": lambda g: g.connect(
        "data_loader", "train_loader", "unet_model", "input"
    ),
    "Cannot connect tensor to model": lambda g: g.connect("unet_model", "output", "trainer", "model"),
    EXISTS: lambda g: g.connect("unet_model", "model", "optimizer", "model"),
    CYCLE: lambda g: (
        g.add(g.new_node("trainer", "second"))
        .connect("trainer", "model", "second", "model")
        .disconnect("unet_model", "model", "trainer", "model")
        .connect("second", "model", "trainer", "model")
    ),
    "Required input 'model' on node 'optimizer' is not connected": lambda g: refuse_faults(
        g.disconnect("unet_model", "model", "optimizer", "model")
    ),
}


def test_the_page_lists_what_is_refused():
    assert {row[0].strip("`") for row in table("| refused | because | instead |")} == set(REFUSED)


@pytest.mark.parametrize("message", REFUSED)
def test_what_the_page_says_is_refused(message):
    graph: Graph = template("train")
    with pytest.raises(GraphError) as refused:
        REFUSED[message](graph)
    assert str(refused.value) == message
