import math

import numpy as np
import pytest
import torch

from napari_segtrain import workflow
from napari_segtrain.data import open_dataset
from napari_segtrain.runs import Control, PreviewHint, PreviewReady, RunFolder, RunStarted, Warned
from napari_segtrain.runs.scratch import open_memmap
from napari_segtrain.training import Experiment
from napari_segtrain.workflow import preview as module


def previews(config, layers, tmp_path, hint=None, steps=60):
    """Train with previews and return their events; contents are read before the run's folder may go."""
    found = []
    control = Control()
    control.look_at(hint)

    def take(event):
        if isinstance(event, PreviewReady):
            found.append((event, np.array(open_memmap(event.array))))

    config = config.with_overrides({"tr_config.steps_per_epoch": steps, "tr_config.num_epochs": 1})
    workflow.train(config, {"layers": layers}, tmp_path / "P", preview=True, emit=take, control=control)
    return found


def layer(image, labels, **extra):
    # Two kinds of places to look at: arrays of the caller, as the Python API gives them.
    return {"id": "cells image", "image": image, "labels": {"cells": (labels > 0).astype(np.uint8)}, **extra}


@pytest.fixture
def live(tiny_experiment, tmp_path):
    """Return a function that makes a preview, the network it shows, and where its events go."""

    def make(layers, **overrides):
        config = tiny_experiment(**overrides)
        events, control = [], Control()
        dataset = open_dataset({"layers": layers}, config.dataset_config)
        run = RunFolder.create(tmp_path / "project", "test")
        made = Experiment.prepare(config, dataset, run, lambda event: None, control)
        passes = []
        forward = made.module.network.forward
        made.module.network.forward = lambda x: (passes.append(x.shape), forward(x))[1]
        shown = module.LivePreview(made, dataset, events.append, control)

        def show():
            events.clear()
            shown(made.module, 0, 0)
            return [event for event in events if isinstance(event, PreviewReady)]

        return show, control, events, passes

    return make


def test_a_block_is_one_pass_of_the_network_and_the_camera_comes_before_the_walk(disc_image, live):
    image, labels = disc_image((72, 100), 6, 0)
    show, control, _, passes = live([layer(image, labels)])
    control.look_at(PreviewHint(record="cells image", start=(0, 0), stop=(20, 20)))
    seen = np.zeros((72, 100), bool)

    def shown():
        (event,) = show()
        seen[tuple(map(slice, event.start, event.stop))] = True
        return event.start, event.stop

    blocks = [shown() for _ in range(4)]
    assert blocks[0] == ((0, 0), (32, 32))
    assert blocks[2] == blocks[0] not in (blocks[1], blocks[3]), "outward, and what is looked at in between"
    # The walk is interrupted where it is.
    control.look_at(PreviewHint(record="cells image", start=(60, 80), stop=(72, 100)))
    assert shown() == ((40, 68), (72, 100))
    for _ in range(2 * (12 - 1 - 2)):
        shown()
    assert seen.all(), "and goes on with what it had not come to"
    assert len(passes) == 4 + 1 + 2 * (12 - 1 - 2)


def test_another_image_or_other_axes_are_no_reason_to_stop(disc_image, live):
    image, labels = disc_image((40, 40), 4, 0)
    show, control, _, _ = live([layer(image, labels)])
    for hint in (
        PreviewHint(record="gone", start=(0, 0), stop=(5, 5)),
        PreviewHint(record="cells image", start=(0, 0, 0), stop=(1, 5, 5)),
        PreviewHint(record="cells image", start=(900, 900), stop=(990, 990)),
    ):
        control.look_at(hint)
        assert show()[0].record == "cells image"


def test_of_what_is_too_large_the_middle_of_the_view_is_shown_and_that_is_said(disc_image, live, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 2000)
    image, labels = disc_image((96, 96), 6, 0)
    show, control, events, _ = live([layer(image, labels)])
    control.look_at(PreviewHint(record="cells image", start=(60, 0), stop=(96, 96)))
    (event,) = show()
    assert [type(e) for e in events] == [Warned, PreviewReady]
    assert "too large for a live preview of all of it" in events[0].message
    assert "what is in the middle of the view is shown" in events[0].message
    assert (event.start, event.stop) == ((62, 32), (94, 64))
    assert open_memmap(event.array).shape == (32, 32)
    assert math.prod(open_memmap(event.array).shape) <= 2000
    show()
    assert [type(e) for e in events] == [PreviewReady], "said once"


def test_previews_have_the_shape_of_the_image_and_name_their_block(disc_image, tiny_experiment, tmp_path):
    image, labels = disc_image((48, 80), 6, 0)
    config = tiny_experiment(
        auxiliary_tasks={"normals": {"type": "surface_normals", "source_target": "cells"}}
    )
    found = previews(config, [layer(image, labels)], tmp_path)
    shapes = {event.head: array.shape for event, array in found}
    assert shapes == {"cells": (48, 80), "normals": (2, 48, 80)}
    for event, _ in found:
        assert event.record == "cells image"
        assert all(0 <= a < b <= n for a, b, n in zip(event.start, event.stop, (48, 80), strict=True))


def test_what_objects_are_made_of_comes_with_an_instance_target(disc_image, tiny_experiment, tmp_path):
    image, labels = disc_image((48, 80), 6, 0)
    config = tiny_experiment(**{"dataset_config.targets.cells.kind": "instances"})
    found = previews(config, [{**layer(image, labels), "labels": {"cells": labels}}], tmp_path, steps=3)
    arrays = {event.head: array for event, array in found}
    parts = {"cells~part", "cells_boundary~part", "cells_distance~part"}
    assert arrays.keys() == {"cells", *parts}
    assert arrays["cells"].dtype == np.uint8
    for name in parts:
        assert arrays[name].shape == (48, 80) and arrays[name].dtype == np.float16
        assert arrays[name].min() >= 0 and arrays[name].max() <= 1
    share = arrays["cells~part"]
    clear = (share != 0) & (abs(share - 0.5) > 0.01)
    np.testing.assert_array_equal(arrays["cells"][clear], share[clear] > 0.5)


def test_classes_are_shown_in_the_values_that_were_painted(disc_image, tiny_experiment, tmp_path):
    image, labels = disc_image((48, 80), 6, 0)
    painted = np.where(labels > 0, np.where(labels > 3, 9, 5), 2).astype(np.uint8)
    painted[:, :20] = 0
    config = tiny_experiment(**{"dataset_config.targets.cells": {"unlabelled": 0}, "tr_config.num_epochs": 1})
    events, arrays = [], []

    def take(event):
        events.append(event)
        if isinstance(event, PreviewReady):
            block = tuple(map(slice, event.start, event.stop))
            arrays.append(np.array(open_memmap(event.array)[block]))

    data = {"layers": [{**layer(image, labels), "labels": {"cells": painted}}]}
    workflow.train(config, data, tmp_path / "P", preview=True, emit=take)
    [started] = [event for event in events if isinstance(event, RunStarted)]
    assert started.kinds == {"cells": "classes"}, "told from the labels"
    assert arrays
    for array in arrays:
        assert set(np.unique(array)) <= {2, 5, 9}, "0 is where nothing was predicted yet"


def test_the_first_block_is_where_the_user_looks(disc_image, tiny_experiment, tmp_path):
    image, labels = disc_image((96, 96), 6, 0)
    hint = PreviewHint(record="cells image", start=(80, 2), stop=(90, 12))
    (event, _), *_ = previews(tiny_experiment(), [layer(image, labels)], tmp_path, hint, steps=3)
    assert event.start[0] <= 85 < event.stop[0]
    assert event.start[1] <= 7 < event.stop[1]


def test_planes_of_a_stack_are_shown_in_the_stack(disc_image, tiny_experiment, tmp_path):
    planes = [disc_image((40, 40), 4, seed) for seed in range(3)]
    stack, labels = (np.stack(parts) for parts in zip(*planes, strict=True))
    hint = PreviewHint(record="cells image", start=(2, 0, 0), stop=(3, 40, 40))
    config = tiny_experiment(**{"dataset_config.ndim": 2})
    found = previews(config, [layer(stack, labels)], tmp_path, hint, steps=3)
    event, array = found[0]
    assert array.shape == (3, 40, 40)
    assert (event.start[0], event.stop[0]) == (2, 3)


def test_without_a_wish_there_is_no_preview(disc_image, tiny_experiment, tmp_path):
    image, labels = disc_image((48, 48), 6, 0)
    events = []
    workflow.train(tiny_experiment(), {"layers": [layer(image, labels)]}, tmp_path / "P", emit=events.append)
    assert not any(isinstance(event, PreviewReady) for event in events)


def test_previews_change_nothing_in_the_training(disc_image, tiny_experiment, tmp_path):
    image, labels = disc_image((48, 48), 6, 0)
    config = tiny_experiment(**{"model_config.dropout": 0.2})
    losses = []
    for preview in (False, True):
        result = workflow.train(
            config, {"layers": [layer(image, labels)]}, tmp_path / f"P{preview}", preview=preview
        )
        losses.append(dict(result.metrics))
    assert losses[0] == losses[1]


def test_a_preview_for_which_memory_runs_out_is_made_in_pieces_and_says_so(disc_image, live, monkeypatch):
    from napari_segtrain.network import MultiTaskUNet

    image, labels = disc_image((72, 100), 6, 0)
    real = MultiTaskUNet.forward

    def greedy(self, x):
        if not (self.training or x.is_meta) and x.shape[-1] * x.shape[-2] > 30 * 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, x)

    monkeypatch.setattr(MultiTaskUNet, "forward", greedy)
    show, _, events, passes = live([layer(image, labels)])
    assert show()
    [said] = [event.message for event in events if isinstance(event, Warned)]
    assert said.startswith("live preview: a tile of 32,32 does not fit into memory")
    before = len(passes)
    assert show()
    assert not [event for event in events if isinstance(event, Warned)]
    assert all(shape[-1] * shape[-2] <= 30 * 30 for shape in passes[before:]), "it is not tried again"
