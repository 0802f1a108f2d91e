import io

import numpy as np
import pytest
from PIL import Image

from napari_segtrain.evaluation import ConfusionMatrix, draw_confusions
from napari_segtrain.evaluation.figures import short


def drawn(**matrices: ConfusionMatrix) -> np.ndarray:
    data = draw_confusions(matrices, "val, 3 of 3 images")
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def blue(pixels: np.ndarray) -> int:
    """Return how many pixels have the colour of a whole row."""
    return int((pixels == (8, 69, 148)).all(axis=-1).sum())


def test_the_share_of_a_row_is_its_colour() -> None:
    right = ConfusionMatrix(("0", "1"), ((50, 0), (0, 3)))
    wrong = ConfusionMatrix(("0", "1"), ((25, 25), (2, 1)))
    assert blue(drawn(cells=right)) > 5000
    assert blue(drawn(cells=wrong)) == 0
    assert drawn(cells=wrong, nuclei=right).shape[1] > drawn(cells=right).shape[1]
    assert blue(drawn(cells=wrong, nuclei=right)) == blue(drawn(cells=right))


@pytest.mark.parametrize("size", [1, 8, 20, 80])
def test_any_number_of_classes_and_any_name_can_be_drawn(size: int) -> None:
    table = np.eye(size, dtype=int) * 7
    matrix = ConfusionMatrix(tuple(map(str, range(size))), tuple(map(tuple, table.tolist())))
    pixels = drawn(**{"数 ünï": matrix})
    assert blue(pixels) > 8 * size
    assert max(pixels.shape) < 1200


def test_counts_are_short() -> None:
    assert [short(n) for n in (0, 9999, 12_345, 4_560_000, 7 * 10**9)] == [
        "0",
        "9999",
        "12.3k",
        "4.56M",
        "7G",
    ]
