from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DataError, TargetConfig
from napari_segtrain.data import glance
from napari_segtrain.data.glance import Glance, Painted, look
from napari_segtrain.data.object_numbers import number_faults


def seen(config: TargetConfig, *labels: Any, **options: Any) -> Glance:
    steps = look([Painted(array, **options) for array in labels], config)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Glance = end.value
            return result


def scribbles(**areas: slice) -> Any:
    painted = np.zeros((20, 50), np.uint8)
    for value, place in areas.items():
        painted[0, place] = int(value[1:])
    return painted


@pytest.mark.parametrize(
    ("painted", "config", "text", "warning"),
    [
        (scribbles(), TargetConfig(unlabelled=0), "0 % labelled", "Nothing is labelled"),
        (scribbles(), TargetConfig(), "100 % labelled: background 100 %", "Background only"),
        (scribbles(_1=slice(5)), TargetConfig(unlabelled=0), "0.5 % labelled: ", "another value than 1"),
        (
            scribbles(_1=slice(5), _2=slice(10, 20)),
            TargetConfig(unlabelled=0),
            "1.5 % labelled: background 0.5 %, foreground 1 %",
            None,
        ),
        (scribbles(_2=slice(5)), TargetConfig(unlabelled=0), "background 0.5 %", "another value than 2"),
        (
            scribbles(_2=slice(5)),
            TargetConfig(unlabelled=0, values=(2,)),
            "foreground 0.5 %",
            "No background. Paint some with the value 1",
        ),
        (scribbles(_1=slice(1)), TargetConfig(), "foreground 0.1 %", "Unbalanced: 999 × as much background"),
        (
            scribbles(_1=slice(5), _2=slice(9, 10), _3=slice(20, 30)),
            TargetConfig(unlabelled=0),
            "background 0.5 %, value 2 0.1 %, value 3 1 %",
            None,
        ),
        (np.linspace(0, 2, 50).reshape(5, 10), TargetConfig(), "100 % measured: 0 to 2", None),
        (np.full((5, 9), 0.5), TargetConfig(), "100 % measured", "Every value is 0.5"),
    ],
)
def test_shares_and_warnings(painted: Any, config: TargetConfig, text: str, warning: str | None) -> None:
    found = seen(config, painted)
    assert text in found.text
    assert (warning or "") in " ".join(found.warnings)
    assert bool(found.warnings) == (warning is not None)


def test_a_mask_leaves_out_and_images_are_counted_together() -> None:
    painted = scribbles(_1=slice(5), _2=slice(10, 20))
    mask = np.ones_like(painted)
    mask[0, 2:15] = 0
    assert (
        "0.7 % labelled: background 0.2 %, foreground 0.5 %"
        in seen(TargetConfig(unlabelled=0), painted, mask=mask).text
    )
    empty = np.zeros((20, 100), np.uint8)
    assert "0.5 % labelled" in seen(TargetConfig(unlabelled=0), painted, empty).text
    two = seen(TargetConfig(kind="instances"), painted, painted)
    assert "4 objects" in two.text, "another image's number 1 is another object"


def test_a_thin_stroke_in_one_plane_of_a_volume_is_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "BLOCK_VOXELS", 2 * 300 * 400)
    volume = np.zeros((9, 300, 400), np.int32)
    volume[5, 100, 200:300] = 7
    found = seen(TargetConfig(unlabelled=0), volume, spatial=(0, 1, 2), spacing=(1.0, 1.0, 1.0))
    rows, columns = found.picture.shape
    assert rows <= 40 and columns <= 56
    assert set(np.unique(found.picture)) == {0, 7}


def test_what_takes_long_is_looked_at_in_part_and_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "BLOCK_VOXELS", 10 * 10)
    monkeypatch.setattr(glance, "MOST_SECONDS", -1.0)
    found = seen(TargetConfig(), np.ones((40, 10), np.uint8))
    assert found.text.startswith("In the 25 % looked at: 100 % labelled")
    starts = [box[0].start for box in glance._boxes(np.ones((40, 10)))]
    assert starts == [0, 20, 10, 30]


def test_an_array_that_cannot_be_read_is_said() -> None:
    class Gone:
        shape, dtype = (4, 4), np.dtype(np.uint8)

        def __getitem__(self, index: Any) -> Any:
            raise OSError("the share is gone")

    with pytest.raises(DataError, match="OSError: the share is gone"):
        seen(TargetConfig(), Gone())


def discs(*places: tuple[int, int, int, int]) -> Any:
    """Return numbers of discs: value, row, column, radius."""
    painted = np.zeros((90, 120), np.uint16)
    rows, columns = np.indices(painted.shape)
    for value, row, column, radius in places:
        painted[np.hypot(rows - row, columns - column) < radius] = value
    return painted


def test_objects_that_share_a_number() -> None:
    fine = discs((1, 20, 20, 9), (2, 20, 38, 9), (3, 70, 70, 10), (70_000 % 2**16, 70, 20, 12))
    fine[70, 100:115] = 9  # long and thin, and one
    assert number_faults(fine) == []
    far = discs((1, 20, 20, 9), (1, 70, 90, 9), (2, 20, 90, 9))
    assert ["Number 1 is used for objects far apart" in text for text in number_faults(far)] == [True]
    cut = discs((1, 20, 20, 9))
    cut[20] = 0  # one object with a crack
    assert number_faults(cut) == []
    touching = discs((5, 20, 20, 9), (5, 20, 37, 9), (2, 70, 70, 9), (3, 70, 20, 9))
    (text,) = number_faults(touching)
    assert text.startswith("Number 5 is used for what looks like objects that touch")
    assert number_faults(np.zeros((5, 5), int)) == []
    found = seen(TargetConfig(kind="instances"), np.stack([touching, far]), spatial=(1, 2))
    assert "5 objects" not in found.text
    assert "4 objects" in found.text
    assert len(found.warnings) == 2
