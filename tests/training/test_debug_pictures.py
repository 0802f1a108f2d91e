"""Pictures of image, ground truth and prediction: what they show, when they are drawn, what they never do."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_segtrain.config import LossConfig
from napari_segtrain.data import Split
from napari_segtrain.runs import DebugPicture, RunState, Warned
from napari_segtrain.targets import Head
from napari_segtrain.targets.colours import BELOW_AND_ABOVE, CLASSES, FOREGROUNDS
from napari_segtrain.training import debug_picture
from napari_segtrain.training.callbacks import debug_pictures
from napari_segtrain.training.debug_picture import DebugPatch, ShownHead, planes_of, render

TASKS = {
    kind: {"type": kind, "source_target": "fg"}
    for kind in (
        "distance_transform",
        "surface_normals",
        "structure_tensor",
        "inplane_direction",
        "nearest_component",
        "flows",
    )
}


def shown(encoding: str, truth: Any, prediction: Any, valid: Any = None, name: str = "a") -> ShownHead:
    truth, prediction = np.asarray(truth, np.float32), np.asarray(prediction, np.float32)
    head = Head(name, "a", "a", encoding, len(prediction), "none", (LossConfig(name="MSELoss"),))  # type: ignore[arg-type]
    known = np.ones(truth.shape[1:], bool) if valid is None else valid
    return ShownHead(head, truth, known, prediction)


def halves(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    values = np.full((1, *shape), low, np.float32)
    values[..., shape[-1] // 2 :] = high
    return values


def panels_of(data: bytes, frame: int = 0, size: int = 200) -> list[np.ndarray]:
    """Cut the three panels of the only row out of a picture."""
    picture = Image.open(io.BytesIO(data))
    picture.seek(frame)
    page = np.asarray(picture.convert("RGB")).astype(int)
    top = page.shape[0] - size - debug_picture._GAP
    lefts = [debug_picture._GAP + column * (size + debug_picture._GAP) for column in range(3)]
    return [page[top : top + size, left : left + size] for left in lefts]


def near(colour: Any, wanted: Any, within: int = 12) -> bool:
    return bool(np.abs(np.asarray(colour) - np.asarray(wanted)).max() <= within)


@pytest.mark.parametrize("ndim", [2, 3])
def test_classes_have_their_layers_colours_and_what_is_unlabelled_is_hatched(ndim: int) -> None:
    shape = (3, 20, 20)[-ndim:]
    valid = np.ones(shape, bool)
    valid[..., :5, :] = False
    right, left = halves(shape, 0, 1), halves(shape, 1, 0)
    patch = DebugPatch(
        np.zeros((1, *shape), np.float32),
        (shown("binary", right, left, valid),),
        planes=(0, 1, 2) if ndim == 3 else (),
        depth=3,
    )
    image, truth, prediction = panels_of(render(patch, "title", (1.0,) * ndim), frame=ndim - 2)
    colour = debug_picture._OPACITY * np.array(FOREGROUNDS[0])
    assert near(truth[150, 150], colour)
    assert near(truth[150, 50], (0, 0, 0))
    assert near(prediction[150, 50], colour)
    assert near(prediction[150, 150], (0, 0, 0))
    assert truth[10:40].std() > 10  # stripes
    # Outlines on the image: of the truth in colour, of the prediction in white, each on its own side.
    assert near(image[150, 105], FOREGROUNDS[0])
    assert near(image[150, 95], (255, 255, 255))
    assert near(image[52, 150], (0, 0, 0)), "where the labels end is no outline"


def test_truth_and_prediction_of_numbers_share_one_range_around_zero() -> None:
    truth, prediction = halves((20, 20), -4, 2), halves((20, 20), 0, 4)
    patch = DebugPatch(np.zeros((1, 20, 20), np.float32), (shown("distance_transform", truth, prediction),))
    _, left, right = panels_of(render(patch, "title", (1.0, 1.0)))
    assert near(left[100, 50], BELOW_AND_ABOVE[0])
    assert near(right[100, 50], BELOW_AND_ABOVE[2])
    assert near(right[100, 150], BELOW_AND_ABOVE[4])


def test_directions_are_coloured_whatever_the_length_of_the_prediction() -> None:
    along_x = np.stack([np.zeros((20, 20)), np.ones((20, 20))])
    patch = DebugPatch(
        np.zeros((1, 20, 20), np.float32), (shown("surface_normals", along_x, 0.01 * along_x),)
    )
    _, truth, prediction = panels_of(render(patch, "title", (1.0, 1.0)))
    assert near(truth[100, 100], (127, 255, 127))
    np.testing.assert_array_equal(truth, prediction)


def test_classes_are_told_by_their_largest_probability_and_odd_names_are_written() -> None:
    scores = np.zeros((3, 8, 8))
    scores[2] = 0.9
    patch = DebugPatch(
        np.zeros((3, 8, 8), np.float32), (shown("classes", np.full((1, 8, 8), 1), scores, name="核" * 80),)
    )
    _, truth, prediction = panels_of(render(patch, "title", (1.0, 1.0)))
    assert near(truth[100, 100], debug_picture._OPACITY * np.array(CLASSES[1]))
    assert near(prediction[100, 100], debug_picture._OPACITY * np.array(CLASSES[2]))


def test_voxels_are_as_high_as_they_are_and_planes_evenly_spread() -> None:
    image = np.zeros((1, 10, 10), np.float32)
    flat = render(DebugPatch(image, (shown("binary", image, image),)), "title", (1.0, 2.0))
    tall = render(DebugPatch(image, (shown("binary", image, image),)), "title", (1.0, 1.0))
    assert Image.open(io.BytesIO(flat)).height == Image.open(io.BytesIO(tall)).height - 100
    assert planes_of(5) == [0, 1, 2, 3, 4]
    assert (planes_of(100)[0], planes_of(100)[-1], len(planes_of(100))) == (0, 99, debug_picture.MOST_PLANES)


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_validation_of_a_run_draws_every_output(make_experiment, monkeypatch, ndim: int) -> None:
    patches: list[DebugPatch] = []

    def remember(patch: DebugPatch, *rest: Any) -> bytes:
        patches.append(patch)
        return render(patch, *rest)

    monkeypatch.setattr(debug_pictures, "render", remember)
    settings = {"auxiliary_tasks": TASKS, "model_config__decoders": "shared", "tr_setup__model_name": "cells"}
    made = make_experiment(ndim, **settings, tr_config__num_epochs=3, tr_config__debug_pictures=1)
    monkeypatch.setattr(debug_pictures, "time", SimpleNamespace(monotonic=lambda: 0.0))
    made.fit()
    suffix = "png" if ndim == 2 else "gif"
    newest = made.run.plots / f"cells_debug.{suffix}"
    assert [(e.path, e.epoch) for e in made.of(DebugPicture)] == [(str(newest), n) for n in (1, 2, 3)]
    assert {p.name for p in made.run.plots.iterdir()} == {newest.name, f"cells_debug_3.{suffix}"}
    assert newest.read_bytes() == (made.run.plots / f"cells_debug_3.{suffix}").read_bytes()
    with Image.open(newest) as picture:
        assert picture.n_frames == (1 if ndim == 2 else 16)
    assert [s.head.name for s in patches[0].heads] == ["fg", *TASKS]
    # The same patch in every epoch, with other predictions.
    np.testing.assert_array_equal(patches[0].image, patches[2].image)
    assert not np.array_equal(patches[0].heads[0].prediction, patches[2].heads[0].prediction)
    assert 0 < patches[0].heads[0].truth.mean() < 1


def test_pictures_change_nothing_and_can_be_switched_off(make_experiment) -> None:
    settings = {"model_config__dropout": 0.2, "tr_config__ema_decay": 0.5}
    made = make_experiment(**settings)
    made.fit()
    plain = make_experiment(**settings, tr_config__debug_pictures=0)
    plain.fit()
    assert made.run.read_metrics() == plain.run.read_metrics()
    assert list(made.run.plots.iterdir())
    assert not list(plain.run.plots.iterdir())
    assert not plain.of(DebugPicture)


def test_without_a_validation_a_training_patch_is_drawn(make_experiment, monkeypatch) -> None:
    titles: list[str] = []

    def remember(patch: DebugPatch, title: str, spacing: Any) -> bytes:
        titles.append(title)
        assert {shown.prediction.shape for shown in patch.heads} == {(1, 16, 16)}
        return render(patch, title, spacing)

    monkeypatch.setattr(debug_pictures, "render", remember)
    monkeypatch.setattr(debug_pictures, "time", SimpleNamespace(monotonic=lambda: 0.0))
    split = Split(train=make_experiment().experiment.data.split.train)
    settings = {"splits": split, "model_config__dropout": 0.2, "model_config__deep_supervision": True}
    made = make_experiment(**settings)
    made.fit()
    plain = make_experiment(**settings, tr_config__debug_pictures=0)
    plain.fit()
    assert titles == [f"segtrain   epoch {epoch}   a training patch" for epoch in (1, 2)]
    assert made.run.read_metrics() == plain.run.read_metrics()


def test_drawing_waits_when_validations_are_too_fast_and_the_last_one_is_drawn(
    make_experiment, monkeypatch
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(debug_pictures, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    made = make_experiment(tr_config__num_epochs=5)
    made.fit()
    # A look at the clock is a second here, so that a drawing takes one and the next is due 49 looks later.
    assert [event.epoch for event in made.of(DebugPicture)] == [1, 5]


def test_a_failure_of_drawing_never_ends_a_training(make_experiment, monkeypatch, caplog) -> None:
    calls: list[int] = []

    def fail(*args: Any) -> bytes:
        calls.append(1)
        raise OSError("no such font")

    monkeypatch.setattr(debug_pictures, "render", fail)
    made = make_experiment(tr_config__num_epochs=5)
    assert made.fit().status is RunState.COMPLETED
    assert len(calls) == 3
    assert [e.message for e in made.of(Warned) if "no such font" in e.message] == [
        "the debug picture failed; training goes on (no such font)"
    ]
    assert "could not be drawn" in caplog.text
    assert not made.of(DebugPicture)
