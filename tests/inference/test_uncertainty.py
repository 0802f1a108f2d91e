import numpy as np
import pytest
import torch

from napari_segtrain.config import DistanceTransformTask
from napari_segtrain.inference.uncertainty import (
    Doubt,
    against_boundary,
    against_centres,
    against_distance,
    entropy,
)


def test_entropy_is_a_share_of_the_largest_possible():
    p = torch.tensor([0.0, 0.5, 1.0, 0.11])[None, None]
    np.testing.assert_allclose(entropy(p)[0], [0, 1, 0, 0.49992], atol=1e-4)
    three = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0.5, 0.5, 0]]).T[None]
    np.testing.assert_allclose(entropy(three)[0], [1, 0, np.log(2) / np.log(3)], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "inside", "outside"), [("signed", -4, 4), ("inside", 4, 0), ("outside", 0, 4)]
)
def test_a_distance_contradicts_where_its_sign_is_the_other_one(kind, inside, outside):
    foreground = torch.tensor([1.0, 1.0, 0.0, 0.0])
    distance = torch.tensor([inside, outside, inside, outside], dtype=torch.float32)
    found = against_distance(foreground, distance, kind, spacing=1.0)
    assert found[0] < 0.3 > found[3]
    assert found[1] > 0.7 < found[2]
    # Ten times the spacing and the distances is the same picture.
    torch.testing.assert_close(found, against_distance(foreground, 10 * distance, kind, spacing=10.0))


@pytest.mark.parametrize("ndim", [2, 3])
def test_edges_and_centres_without_an_object_contradict(ndim):
    foreground = torch.zeros((1, *(12,) * ndim))
    middle = (0, *(slice(4, 8),) * ndim)
    foreground[middle] = 1.0
    grown, shrunk = torch.zeros_like(foreground), torch.zeros_like(foreground)
    grown[(0, *(slice(3, 9),) * ndim)] = 1.0
    shrunk[(0, *(slice(5, 7),) * ndim)] = 1.0
    edge = grown - shrunk
    assert against_boundary(foreground, edge).max() == 0
    assert against_boundary(foreground, torch.zeros_like(edge))[middle].max() == 1
    assert against_boundary(torch.zeros_like(edge), edge).sum() == edge.sum()
    assert against_centres(foreground, shrunk).max() == 0
    assert against_centres(torch.zeros_like(edge), shrunk).sum() == shrunk.sum()


def test_a_network_that_sees_mirrored_images_otherwise_is_doubted(head, fixed):
    """A network that says left is foreground, whatever the image: only mirroring tells."""
    heads = [head("cells", "binary"), head("scale", "regression", scale=4.0)]
    left = torch.full((1, 1, 4, 8), -30.0)
    left[..., :4] = 30.0
    network = fixed({"cells": lambda x: left.expand(len(x), -1, -1, -1), "scale": lambda x: x})
    doubt = Doubt(network, heads, ["cells", "scale"], {}, 2, 1.0)
    assert [(m.target, m.reason) for m in doubt.measures] == [
        ("cells", "unsure"),
        ("cells", "mirrors"),
        ("scale", "mirrors"),
    ]
    with torch.inference_mode():
        found = doubt(torch.rand(2, 1, 4, 8))["doubt"]
    assert found.shape == (2, 3, 4, 8)
    # Two of three answers are the same: p is 2/3 on one side and 1/3 on the other.
    np.testing.assert_allclose(found[:, 0], 0.9183, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], 2 * (2 / 9) ** 0.5, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-3)


def test_all_outputs_of_a_target_are_compared(head, fixed):
    heads = [
        head("cells", "binary"),
        head("edge", "boundary", target="cells"),
        head("far", "distance_transform", target="cells", scale=2.0),
        head("normals", "surface_normals", channels=2, target="cells"),
    ]
    sure = {"cells": lambda x: 30 * x, "edge": lambda x: 0 * x - 30, "far": lambda x: -4 * x}
    tasks = {"far": DistanceTransformTask(source_target="cells")}
    x = torch.ones(1, 1, 8, 8)
    with torch.inference_mode():
        agree = Doubt(fixed(sure), heads, ["cells"], tasks, 2, 1.0)(x)["doubt"]
        wrong = Doubt(fixed({**sure, "far": lambda x: 4 * x}), heads, ["cells"], tasks, 2, 1.0)(x)["doubt"]
    assert agree.max() < 1e-3
    np.testing.assert_allclose(wrong[0, 1], 1.0, atol=1e-3)
    assert wrong[0, [0, 2]].max() < 1e-3
