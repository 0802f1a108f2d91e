"""Memory that runs out in a prediction: fewer tiles, then pieces of a tile, and never a hole."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_segtrain.inference import MemorySink
from napari_segtrain.inference.images import as_source
from napari_segtrain.inference.pieces import pieces, shorter


@pytest.mark.parametrize(
    ("tile", "divisor"), [((64,), (16,)), ((48, 80), (8, 16)), ((40, 64, 64), (4, 8, 8)), ((16, 17), (1, 1))]
)
def test_pieces_fill_a_tile_once_and_suit_the_network(
    tile: tuple[int, ...], divisor: tuple[int, ...]
) -> None:
    size: tuple[int, ...] | None = tile
    sizes = []
    while (size := shorter(size, divisor)) is not None:
        sizes.append(size)
        filled = np.zeros(tile, int)
        for piece in pieces(tile, size, divisor):
            assert tuple(s.stop - s.start for s in piece.seen) == size
            assert all(s.start >= 0 and s.stop <= n for s, n in zip(piece.seen, tile, strict=True))
            inner, place = (tuple(s.stop - s.start for s in part) for part in (piece.inner, piece.place))
            assert inner == place
            filled[piece.place] += 1
        assert (filled == 1).all()
    assert all(n % d == 0 for size in sizes for n, d in zip(size, divisor, strict=True))
    assert [np.prod(size) for size in sizes] == sorted({np.prod(size) for size in sizes}, reverse=True)


def test_a_tile_that_does_not_fit_is_predicted_in_pieces_and_so_are_those_after_it(
    predictor_of: Callable, head: Callable, noise: Callable
) -> None:
    tried: list[tuple[int, ...]] = []

    def scarce(x: torch.Tensor) -> torch.Tensor:
        tried.append(tuple(x.shape))
        if x.numel() > 40 * 40:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return x

    predictor = predictor_of({"grey": scarce}, [head("grey")], patch=64, batch_size=4, mirroring=True)
    image = noise(150, 100)
    found = predictor.predict_array(image)["grey"]
    np.testing.assert_allclose(found[0], image, atol=1e-5)
    [said] = [message for message in predictor.messages if "does not fit into memory" in message]
    assert "a tile of 64,64 does not fit into memory: it is predicted in overlapping pieces of" in said
    failed = sum(np.prod(shape) > 40 * 40 for shape in tried)
    assert failed == 4, "4 tiles, 2, 1, and pieces that were too large still, each once"
    sink = MemorySink()
    predictor.predict_source(as_source(image, predictor.plan, None), sink)
    assert sum(np.prod(shape) > 40 * 40 for shape in tried) == failed, "it is not tried again"
