from collections.abc import Callable

import numpy as np
import pytest

from napari_segtrain.config import ConfigError, InferenceConfig
from napari_segtrain.inference.outputs import instance_parts, likeliest, plan_outputs


@pytest.fixture
def heads(head: Callable) -> list:
    return [
        head("mask", "binary"),
        head("kinds", "classes", 3),
        head("cells", "binary"),
        head("cells_boundary", "boundary", target="cells", decoder="cells"),
        head("cells_distance", "centre_distance", target="cells", decoder="cells"),
        head("level", "regression", 2),
        head("depth", "distance_transform", target="mask"),
    ]


def forms(plan: object) -> dict[str, tuple[str, str, int]]:
    return {o.name: (o.form, str(o.dtype), o.channels) for o in plan.outputs}  # type: ignore[attr-defined]


def test_labels_are_small_and_everything_else_numbers(heads: list) -> None:
    plan = plan_outputs(heads, InferenceConfig(), {"kinds": (1, 5, 300)})
    assert forms(plan) == {
        "mask": ("mask", "uint8", 1),
        "kinds": ("classes", "uint16", 1),
        "cells": ("mask", "uint8", 1),
        "level": ("numbers", "float32", 2),
        "depth": ("numbers", "float32", 1),
    }
    assert [h.name for h in plan.heads] == ["mask", "kinds", "cells", "level", "depth"]


def test_probabilities_and_bytes(heads: list) -> None:
    chosen = ("kinds", "level", "cells_distance")
    plan = plan_outputs(heads, InferenceConfig(output="probabilities", targets=chosen), {})
    assert set(forms(plan).values()) == {
        ("numbers", "float32", 3),
        ("numbers", "float32", 2),
        ("numbers", "float32", 1),
    }
    plan = plan_outputs(heads, InferenceConfig(output="uint8", targets=(*chosen, "depth")), {})
    assert forms(plan) == {
        "kinds": ("numbers", "uint8", 3),
        "cells_distance": ("numbers", "uint8", 1),
        "level": ("numbers", "float32", 2),  # nobody knows the limits of a measured value
        "depth": ("numbers", "uint8", 1),
    }


@pytest.mark.parametrize("ndim", [2, 3])
def test_limits_of_scaled_numbers_follow_from_what_they_are(head: Callable, ndim: int) -> None:
    tensor = ndim * (ndim + 1) // 2
    heads = [
        head("mask", "binary"),
        head("depth", "distance_transform", scale=4.0),
        head("normals", "surface_normals", ndim),
        head("nearest", "nearest_component", ndim, scale=2.5),
        head("flows", "flows", ndim),
        head("line", "inplane_direction", ndim),
        head("tensor", "structure_tensor", tensor, scale=0.5),
    ]
    plan = plan_outputs(heads, InferenceConfig(output="uint8"), {})
    limits = {output.name: output.limits for output in plan.outputs}
    assert limits == {
        "mask": (0.0, 1.0),
        "depth": (-8.0, 8.0),  # twice the scale is the distance at which training cuts off
        "normals": (-1.0, 1.0),
        "nearest": (-5.0, 5.0),
        "flows": (-1.0, 1.0),
        "line": (-1.0, 1.0),
        "tensor": (-0.625, 0.625),
    }
    stacked = (
        np.random.default_rng(0).uniform(-1, 1, (1 + 1 + 3 * ndim + 2 * tensor, 5, 6)).astype(np.float32)
    )
    whole = {output.name: output.encode(stacked) for output in plan.outputs}
    raw = {o.name: o.encode(stacked) for o in plan_outputs(heads, InferenceConfig(), {}).outputs}
    for output in plan.outputs:
        low, high = output.limits
        restored = low + whole[output.name] / np.float32(255) * (high - low)
        assert whole[output.name].dtype == np.uint8
        if output.name != "mask":
            expected = np.clip(raw[output.name], low, high)
            np.testing.assert_allclose(restored, expected, atol=(high - low) / 509)
        # The same in a part as in the whole: the limits do not come from the values.
        np.testing.assert_array_equal(output.encode(stacked[:, :2, 3:]), whole[output.name][:, :2, 3:])


def test_instances_take_the_place_of_the_mask_and_need_its_parts(heads: list) -> None:
    plan = plan_outputs(heads, InferenceConfig(instances=True, targets=("cells",)), {})
    assert [h.name for h in plan.heads] == ["cells", "cells_boundary", "cells_distance"]
    assert [(o.name, o.form) for o in plan.kept] == [("cells", "instances")]
    assert [o.name for o in plan.streamed] == ["cells~part", "cells_boundary~part", "cells_distance~part"]
    assert plan.instances["cells"].names == ("cells", "cells_boundary", "cells_distance")
    both = plan_outputs(heads, InferenceConfig(instances=True, targets=("cells", "cells_boundary")), {})
    assert forms(both)["cells_boundary"] == ("mask", "uint8", 1)


def test_objects_of_a_binary_target_are_its_connected_parts(heads: list) -> None:
    plan = plan_outputs(heads[:2], InferenceConfig(instances=True), {})
    assert [(o.name, o.form) for o in plan.kept] == [("mask", "instances"), ("kinds", "classes")]
    assert plan.instances["mask"].names == ("mask",)
    assert not plan.notes
    beside = plan_outputs(heads, InferenceConfig(instances=True), {})
    assert list(beside.instances) == ["cells"], "beside an instance target a binary one stays a mask"
    assert forms(beside)["mask"][0] == "mask"
    live = plan_outputs(heads[:2], InferenceConfig(), {}, with_parts=True)
    assert [o.form for o in live.outputs] == ["mask", "classes"]


def test_instances_of_what_has_no_objects_are_said_to_change_nothing(heads: list) -> None:
    plan = plan_outputs(heads, InferenceConfig(instances=True, targets=("kinds",)), {})
    assert plan.instances == {} and [o.form for o in plan.outputs] == ["classes"]
    assert len(plan.notes) == 1 and "binary" in plan.notes[0]
    assert list(instance_parts(heads)) == ["cells"]
    assert instance_parts(heads[:4])["cells"].distance is None


def test_classes_come_back_in_the_painted_values(heads: list) -> None:
    stacked = np.zeros((4, 2, 2), np.float32)
    stacked[1:, 0, 0] = [0.2, 0.5, 0.3]
    stacked[1:, 0, 1] = [0.1, 0.1, 0.8]
    stacked[1:, 1, 1] = [0.4, 0.4, 0.2]
    plan = plan_outputs(heads[:2], InferenceConfig(), {"kinds": (1, 5, 7)})
    kinds = plan.outputs[1].encode(stacked)
    assert kinds.shape == (1, 2, 2)
    assert kinds[0].tolist() == [[5, 7], [1, 1]]
    unknown = plan_outputs(heads[:2], InferenceConfig(), {}).outputs[1].encode(stacked)
    assert unknown[0].tolist() == [[1, 2], [0, 0]]
    negative = plan_outputs(heads[:2], InferenceConfig(), {"kinds": (-1, 5, 7)}).outputs[1]
    assert negative.dtype == np.int32 and negative.encode(stacked)[0, 1, 1] == -1


def test_mask_bytes_and_numbers_are_encoded_as_said(heads: list) -> None:
    stacked = np.array([0.0, 0.3, 0.5, 0.51, 1.0], np.float32).reshape(1, 1, 5)
    mask = plan_outputs(heads[:1], InferenceConfig(threshold=0.3), {}).outputs[0].encode(stacked)
    assert mask[0, 0].tolist() == [0, 0, 1, 1, 1] and mask.dtype == np.uint8
    scaled = plan_outputs(heads[:1], InferenceConfig(output="uint8"), {}).outputs[0].encode(stacked)
    assert scaled[0, 0].tolist() == [0, 77, 128, 130, 255]
    numbers = plan_outputs(heads[:1], InferenceConfig(output="probabilities"), {}).outputs[0].encode(stacked)
    np.testing.assert_array_equal(numbers, stacked)
    assert not np.shares_memory(numbers, stacked)


def test_likeliest_is_the_first_of_equals() -> None:
    values = np.random.default_rng(0).integers(0, 3, (5, 7, 9)).astype(np.float32)
    np.testing.assert_array_equal(likeliest(values), values.argmax(0))


def test_unknown_output_is_named_with_the_nearest(heads: list) -> None:
    with pytest.raises(ConfigError, match=r"'celz' is not an output.*'cells'"):
        plan_outputs(heads, InferenceConfig(targets=("celz",)), {})
