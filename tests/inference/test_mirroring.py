import itertools
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_segtrain.inference.mirroring import Symmetry, mirrors
from napari_segtrain.targets.head import Encoding


def all_symmetries(ndim: int) -> list[Symmetry]:
    orders = itertools.permutations(range(ndim))
    return [
        Symmetry(o, f) for o, f in itertools.product(orders, itertools.product((False, True), repeat=ndim))
    ]


def gradient(values: Tensor) -> Tensor:
    """Central differences with periodic ends: commutes with every symmetry of the grid."""
    parts = [(values.roll(-1, axis) - values.roll(1, axis)) / 2 for axis in range(2, values.ndim)]
    return torch.cat(parts, dim=1)


def outer(vectors: Tensor) -> Tensor:
    """Upper triangle of the outer product of `(B, n, *spatial)` with itself."""
    pairs = itertools.combinations_with_replacement(range(vectors.shape[1]), 2)
    return torch.stack([vectors[:, a] * vectors[:, b] for a, b in pairs], dim=1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_inverse_undoes_and_vectors_turn_with_the_image(ndim: int) -> None:
    image = torch.rand(1, 1, *(4, 5, 6)[:ndim])
    vectors = gradient(image)
    for symmetry in all_symmetries(ndim):
        moved = symmetry.apply(image)
        assert torch.equal(symmetry.inverse.apply(moved), image)
        # The gradient of the moved image, moved back, is the gradient of the image.
        back = symmetry.inverse.apply_vectors(gradient(moved))
        torch.testing.assert_close(back, vectors)
        torch.testing.assert_close(symmetry.apply_vectors(vectors), gradient(moved))
        back = symmetry.inverse.apply_tensors(outer(gradient(moved)))
        torch.testing.assert_close(back, outer(vectors))
        torch.testing.assert_close(symmetry.apply_tensors(outer(vectors)), outer(gradient(moved)))


@pytest.mark.parametrize(("ndim", "count"), [(2, 4), (3, 8)])
def test_mirrors_are_all_flips_identity_first(ndim: int, count: int) -> None:
    found = mirrors(ndim)
    assert len(set(found)) == count
    image = torch.rand(1, 1, *(4, 5, 6)[:ndim])
    assert torch.equal(found[0].apply(image), image)
    assert len({tuple(m.apply(image).reshape(-1).tolist()) for m in found}) == count
    assert all(m.apply(m.apply(image)).equal(image) for m in found)


@pytest.mark.parametrize("ndim", [2, 3])
def test_mirroring_changes_nothing_for_an_equivariant_network(
    ndim: int, predictor_of: Callable, head: Callable, noise: Callable
) -> None:
    def unit(x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(gradient(x), dim=1)

    def line(x: Tensor) -> Tensor:
        # Which of the two signs comes out depends on how the image lies.
        return unit(x) * torch.sign(torch.arange(x.numel()).reshape(x.shape) % 3 - 0.5)

    outputs = {
        "mask": lambda x: x,
        "kinds": lambda x: torch.cat([x, -x, x * x], 1),
        "boundary": lambda x: x * x,
        "centre": lambda x: -x,
        "depth": lambda x: x.abs(),
        "flows": lambda x: 3 * gradient(x),  # made unit vectors
        "line": line,
        "grey": lambda x: x,
        "normals": unit,
        "nearest": gradient,
        "tensor": lambda x: outer(gradient(x)),
    }
    heads = [
        head("mask", "binary"),
        head("kinds", "classes", 3),
        head("boundary", "boundary"),
        head("centre", "centre_distance"),
        head("depth", "distance_transform", scale=2.0),
        head("flows", "flows", ndim),
        head("line", "inplane_direction", ndim),
        head("grey"),
        head("normals", "surface_normals", ndim),
        head("nearest", "nearest_component", ndim, scale=3.0),
        head("tensor", "structure_tensor", ndim * (ndim + 1) // 2, scale=0.5),
    ]
    assert {one.encoding for one in heads} == set(get_args(Encoding)), (
        "every kind of output has its place here"
    )
    image = noise(*(24, 20, 28)[:ndim])
    plain, mirrored = (
        predictor_of(outputs, heads, ndim=ndim, overlap=0.0, mirroring=mirroring).predict_array(image)
        for mirroring in (False, True)
    )
    for name in plain:
        np.testing.assert_allclose(mirrored[name], plain[name], atol=1e-5)
        assert np.abs(plain[name]).max() > 0.1


@pytest.mark.parametrize("shape", [(40, 40), (3, 40, 40)])
def test_lines_of_opposite_sign_do_not_cancel_where_tiles_overlap(
    predictor_of: Callable, head: Callable, shape: tuple[int, ...]
) -> None:
    direction = torch.tensor([0.6, -0.8]).reshape(1, 2, 1, 1)
    flip = iter(range(10**6))

    def line(x: Tensor) -> Tensor:
        return direction.expand(len(x), 2, *x.shape[2:]) * (-1) ** next(flip)

    predictor = predictor_of(
        {"grey": lambda x: x, "line": line}, [head("grey"), head("line", "inplane_direction", 2)], overlap=0.5
    )
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    found = predictor.predict_array(image)
    assert found["line"].shape == (2, *shape)
    expected = np.broadcast_to(np.reshape([0.6, -0.8], (2, *(1,) * len(shape))), found["line"].shape)
    np.testing.assert_allclose(found["line"], expected, atol=1e-5)
    np.testing.assert_allclose(found["grey"].reshape(shape), image, atol=1e-5)


def test_mirroring_averages_what_is_not_equivariant(
    predictor_of: Callable, head: Callable, noise: Callable
) -> None:
    ramp = lambda x: x * 0 + torch.arange(16.0)  # noqa: E731
    left = lambda x: torch.stack([x[:, 0] * 0, x[:, 0] * 0 + 1], 1)  # noqa: E731
    heads = [head("ramp"), head("left", "surface_normals", 2)]
    predictor = predictor_of({"ramp": ramp, "left": left}, heads, mirroring=True)
    found = predictor.predict_array(noise(16, 16))
    np.testing.assert_allclose(found["ramp"], 7.5, rtol=1e-5)
    # A vector that always points to the same side of the tile has no direction left.
    np.testing.assert_allclose(found["left"], 0.0, atol=1e-5)
