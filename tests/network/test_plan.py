import json

import pytest

from napari_segtrain.config import ConfigError, NetworkConfig
from napari_segtrain.network import NetworkPlan, make_plan, round_up


def plan_of(config, head, **changes):
    arguments = {
        "ndim": 2,
        "in_channels": 1,
        "patch_size": (64, 64),
        "spacing": (1.0, 1.0),
        "shape": (500, 500),
        "heads": [head("a")],
    }
    return make_plan(config, **{**arguments, **changes})


def test_defaults_follow_the_algorithm(head):
    plan = plan_of(NetworkConfig(), head, patch_size=(256, 256))
    assert plan.features == (32, 64, 128, 256, 320, 320, 320)
    assert plan.blocks_per_stage == (1, 3, 4, 6, 6, 6, 6)


def test_the_patch_is_rounded_up_and_the_plan_says_so(head):
    plan = plan_of(NetworkConfig(), head, patch_size=(100, 100))
    assert plan.patch_size == (112, 112)
    assert round_up((100, 113), plan) == (112, 128)


def test_every_key_of_the_section_reaches_the_plan(head):
    config = NetworkConfig(
        features=(8, 12),
        blocks_per_stage=(2, 1),
        kernel_sizes=((5, 5), (3, 3)),
        strides=((1, 1), (4, 2)),
        decoder_blocks=2,
        norm="batch",
        nonlinearity="gelu",
        dropout=0.1,
        squeeze_excitation=True,
        stochastic_depth=0.2,
        pooling="max",
        upsampling="interpolate",
        deep_supervision=True,
    )
    plan = plan_of(config, head)
    for name in config.model_fields_set:
        assert getattr(plan, name) == getattr(config, name)
    assert plan.divisor == (4, 2)


@pytest.mark.parametrize("key", ["features", "blocks_per_stage"])
def test_listed_entries_decide_the_number_of_stages_also_of_anisotropic_volumes(head, key):
    changes = {"ndim": 3, "patch_size": (32, 64, 64), "spacing": (2.0, 1.0, 1.0), "shape": (48, 128, 128)}
    assert plan_of(NetworkConfig(), head, **changes).stages == 5
    assert plan_of(NetworkConfig(**{key: (4, 4, 4, 4)}), head, **changes).stages == 4


def test_feature_counts_decide_the_number_of_stages(head):
    assert plan_of(NetworkConfig(features=(8, 16, 32)), head).stages == 3


def test_heads_of_one_decoder_stay_together_in_order(head):
    heads = [head("a", 1, "x"), head("b", 2, "y"), head("c", 3, "x")]
    plan = plan_of(NetworkConfig(), head, heads=heads)
    assert [(d.name, [h.name for h in d.heads]) for d in plan.decoders] == [("x", ["a", "c"]), ("y", ["b"])]


def test_a_plan_survives_json(head):
    plan = plan_of(NetworkConfig(), head)
    assert NetworkPlan.model_validate(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        (NetworkConfig(features=(8, 16, 32), blocks_per_stage=(1,)), {}, "every stage needs one entry"),
        (
            NetworkConfig(strides=((2, 2), (2, 2))),
            {},
            "first stage works at full resolution: its stride is 1 along every axis, not 2 × 2",
        ),
        (NetworkConfig(kernel_sizes=((2, 2),), max_poolings=0), {}, "instead of 2 take 1 or 3"),
        (NetworkConfig(features=(8,) * 9), {}, "9 stages, but a patch of 64 × 64 is pooled into 5 at most"),
        (NetworkConfig(blocks_per_stage=(1,) * 4, max_poolings=1), {}, "into 2 at most with max_poolings 1"),
        (NetworkConfig(kernel_sizes=((3, 3),) * 6), {}, "kernel_sizes has entries for 6 stages"),
        (
            NetworkConfig(strides=((1, 1), (8, 8), (8, 16))),
            {},
            "by 128 along x, where it has 64 voxels: their product can be 64 at most",
        ),
        (NetworkConfig(strides=((1, 1), (8, 8), (8, 8))), {}, "a single voxel of a patch of 64 × 64"),
        (NetworkConfig(kernel_sizes=((3, 3, 3),), max_poolings=0), {}, "2 numbers a stage"),
        (NetworkConfig(), {"patch_size": (8, 8, 8)}, "the data is 2D: give 2 in array order y, x"),
        (NetworkConfig(), {"spacing": (1.0,) * 3}, "the data is 2D"),
        (NetworkConfig(), {"heads": []}, "at least one output"),
    ],
)
def test_contradictions_are_refused_in_words(config, changes, words, head):
    with pytest.raises(ConfigError, match=words):
        plan_of(config, head, **changes)
