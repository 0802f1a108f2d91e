"""How ports look."""

from napari_segtrain.widgets.panels.graph.looks import COLOURS, SHAPES
from napari_segtrain.workflow.graph import PortType


def test_each_type_has_a_colour_and_a_shape_of_its_own() -> None:
    assert set(COLOURS) == set(SHAPES) == set(PortType)
    assert len(set(COLOURS.values())) == len(PortType)
    outlines = {
        str([(e.x, e.y) for e in map(SHAPES[k].elementAt, range(SHAPES[k].elementCount()))]) for k in SHAPES
    }
    assert len(outlines) == len(PortType)
