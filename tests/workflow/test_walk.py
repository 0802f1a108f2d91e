import itertools

import numpy as np
import pytest

from napari_segtrain.workflow.walk import Walk


def covered(shape, blocks):
    seen = np.zeros(shape, bool)
    for block in blocks:
        seen[block.paste] = True
    return seen


def take(walk, number):
    return list(itertools.islice(iter(walk.next, None), number))


@pytest.mark.parametrize(
    ("shape", "tile", "low", "high"),
    [
        ((100,), (32,), (40,), (50,)),
        ((100, 70), (32, 64), (30, 0), (99, 70)),
        ((5, 40, 40), (1, 16, 16), (4, 3, 9), (5, 21, 39)),
        ((40, 100, 90), (16, 32, 32), (7, 20, 20), (8, 90, 60)),
        ((8, 9), (32, 32), (2, 2), (3, 3)),
    ],
)
def test_what_is_looked_at_comes_first_and_then_everything(shape, tile, low, high):
    walk = Walk(shape, tile, (1,) * len(shape))
    walk.look((low, high))
    needed = int(
        np.prod([-(-(b - a) // min(t, n)) for a, b, t, n in zip(low, high, tile, shape, strict=True)])
    )
    view = tuple(map(slice, low, high))
    first = take(walk, needed)
    assert covered(shape, first)[view].all(), "in as few blocks as hold it"
    number = int(np.prod([-(-n // t) for n, t in zip(shape, tile, strict=True)]))
    blocks = first + take(walk, 2 * number)
    assert covered(shape, blocks).all()
    for block in blocks:
        for window, paste, size, side in zip(block.window, block.paste, tile, shape, strict=True):
            assert 0 <= window.start <= paste.start < paste.stop <= window.stop <= side
            assert window.stop - window.start == min(size, side), "the network sees a whole tile"


def test_outward_goes_by_physical_distance_and_what_is_looked_at_stays_fresh():
    walk = Walk((64, 64, 64), (8, 16, 16), (4, 1, 1))
    walk.look(((30, 24, 24), (31, 40, 40)))
    first, *later = take(walk, 1 + 2 * 60)
    assert first.paste == (slice(26, 34), slice(24, 40), slice(24, 40)), "around its middle"
    outward, again = later[::2], later[1::2]
    assert all(block == first for block in again)
    middle = (30.5, 32, 32)

    def far(block):
        gaps = [max(p.start - m, m - p.stop, 0) for p, m in zip(block.paste, middle, strict=True)]
        return np.hypot(4 * gaps[0], np.hypot(*gaps[1:]))

    # A voxel is four times as long as wide: the whole slice is nearer than the slices three blocks away.
    assert max(map(far, outward[:16])) < min(map(far, outward[40:]))
    assert len({str(block) for block in outward}) == len(outward)


def test_a_move_comes_first_and_what_was_covered_is_not_covered_again():
    shape = (160, 160)
    walk = Walk(shape, (16, 16), (1, 1))
    walk.look(((0, 0), (16, 16)))
    before = take(walk, 41)
    walk.look(((144, 144), (160, 160)))
    walk.look(((144, 144), (160, 160)))
    after = take(walk, 1 + 2 * 78)
    assert after[0].paste == (slice(144, 160), slice(144, 160))
    # 1 + 20 outward before, 1 + 78 after: all 100, each once.
    assert covered(shape, before + after).all()
    walk.look(((3, 3), (4, 4)))
    assert take(walk, 1)[0].paste == (slice(0, 16), slice(0, 16))


def test_a_view_given_up_halfway_is_covered_later():
    walk = Walk((64, 64), (16, 16), (1, 1))
    walk.look(((0, 0), (64, 64)))
    seen = take(walk, 3)
    walk.look(((0, 0), (1, 1)))
    assert covered((64, 64), seen + take(walk, 32)).all()


def test_of_a_large_image_only_the_middle_of_the_view_is_walked():
    walk = Walk((10**9, 10**9), (64, 64), (1, 1), outward=False)
    walk.look(((0, 500), (400, 900)))
    assert all(block.paste == (slice(168, 232), slice(668, 732)) for block in take(walk, 5))
