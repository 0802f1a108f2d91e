import json

import pytest

from napari_segtrain.config import ConfigError, DataFacts, ExperimentConfig, TargetFacts
from napari_segtrain.losses import check_heads
from napari_segtrain.targets import Head, doubtful_kinds, resolve_heads, resolve_targets

THREE = TargetFacts(values=(0, 1, 2))
BINARY = TargetFacts(values=(0, 1), max_value=1)
MANY = TargetFacts(values=tuple(range(60)), max_value=59)


def facts(ndim=2, in_channels=1, **targets):
    return DataFacts(
        ndim=ndim, in_channels=in_channels, shape=(64,) * ndim, spacing=(1.0,) * ndim, targets=targets
    )


def config(targets=None, tasks=None, **sections):
    return ExperimentConfig.parse(
        {"dataset_config": {"targets": targets or {}}, "auxiliary_tasks": tasks or {}, **sections}
    )


def one(target, known=None, **more):
    return resolve_heads(config({"t": target}), facts(**({"t": known} if known else {}), **more))[0]


@pytest.mark.parametrize(
    ("target", "known", "expected"),
    [
        ({"kind": "binary"}, None, ("binary", 1, "sigmoid", "BCEDiceLoss")),
        ({"kind": "classes", "values": [0, 3, 5]}, None, ("classes", 3, "softmax", "DiceCELoss")),
        ({"kind": "regression"}, TargetFacts(integer=False), ("regression", 1, "none", "MaskedMSELoss")),
        ({"kind": "binary", "out_channels": 2}, None, ("classes", 2, "softmax", "DiceCELoss")),
        ({"kind": "binary", "activation": "softmax"}, None, ("classes", 2, "softmax", "DiceCELoss")),
        ({"kind": "classes", "activation": "sigmoid"}, THREE, ("classes", 3, "sigmoid", "BCEDiceLoss")),
        ({"kind": "binary", "activation": "none"}, None, ("binary", 1, "sigmoid", "BCEDiceLoss")),
        ({"kind": "instances", "activation": "none"}, None, ("binary", 1, "sigmoid", "BCEDiceLoss")),
        ({"kind": "classes", "activation": "none"}, THREE, ("classes", 3, "softmax", "DiceCELoss")),
        ({}, BINARY, ("binary", 1, "sigmoid", "BCEDiceLoss")),
        ({"unlabelled": 0}, TargetFacts(values=(0, 1, 2)), ("binary", 1, "sigmoid", "BCEDiceLoss")),
        ({}, TargetFacts(values=(0, 1, 2, 7)), ("classes", 4, "softmax", "DiceCELoss")),
        ({}, MANY, ("binary", 1, "sigmoid", "BCEDiceLoss")),
        ({}, TargetFacts(integer=False, channels=3), ("regression", 3, "none", "MaskedMSELoss")),
        ({"out_channels": 4}, TargetFacts(values=(0, 1)), ("classes", 4, "softmax", "DiceCELoss")),
        ({"values": [2]}, MANY, ("binary", 1, "sigmoid", "BCEDiceLoss")),
    ],
)  # fmt: skip
def test_a_target_becomes_the_head_that_fits_it(target, known, expected):
    head = one(target, known)
    assert (head.encoding, head.out_channels, head.activation, head.losses[0].name) == expected


def test_a_target_that_nothing_decides_has_as_many_channels_as_the_input():
    assert one({}, in_channels=1).out_channels == 1
    assert one({}, in_channels=3).out_channels == 3
    assert one({"kind": "classes"}, in_channels=4).out_channels == 4
    assert one({"kind": "regression"}, in_channels=5).out_channels == 5


def test_an_instance_target_has_three_heads_on_one_decoder():
    heads = resolve_heads(
        config({"n": {"kind": "instances", "losses": "SoftDiceLoss", "weight": 2}}), facts()
    )
    assert [h.name for h in heads] == ["n", "n_boundary", "n_distance"]
    assert [h.encoding for h in heads] == ["binary", "boundary", "centre_distance"]
    assert {h.decoder for h in heads} == {h.target for h in heads} == {"n"}
    assert [h.losses[0].name for h in heads] == ["SoftDiceLoss", "SoftDiceLoss", "WeightedSmoothL1Loss"]
    assert [h.weight for h in heads] == [2, 2, 2]
    assert [h.kind for h in heads] == ["segmentation", "segmentation", "scalar"]
    assert [h.ds_interpolation for h in heads] == ["nearest", "nearest", "linear"]


@pytest.mark.parametrize("ndim", [2, 3])
def test_auxiliary_tasks_follow_with_a_decoder_each(ndim):
    tasks = {
        "d": {"type": "distance_transform", "source_target": "t", "clip": 10},
        "n": {"type": "surface_normals", "source_target": "t", "loss_weight": 0.5},
    }
    heads = resolve_heads(config({"t": {"kind": "binary"}}, tasks), facts(ndim))
    assert [(h.name, h.target, h.decoder) for h in heads[1:]] == [("d", "t", "d"), ("n", "t", "n")]
    assert [h.out_channels for h in heads[1:]] == [1, ndim]
    assert [h.losses[0].name for h in heads[1:]] == ["SignedDistanceLoss", "CosineSimilarityLoss"]
    assert [h.kind for h in heads[1:]] == ["scalar", "vector"]
    assert heads[1].scale == 5
    assert heads[1].losses[0].weight == pytest.approx(0.2)
    assert heads[2].weight == 0.5
    shared = resolve_heads(
        config({"t": {"kind": "binary"}}, tasks, model_config={"decoders": "shared"}), facts(ndim)
    )
    assert {h.decoder for h in shared} == {"shared"}
    assert [h.name for h in shared] == [h.name for h in heads]


def test_default_losses_can_serve_their_heads():
    known = facts(
        3, b=BINARY, c=TargetFacts(values=(0, 1, 2)), i=MANY, r=TargetFacts(integer=False, max_value=900)
    )
    tasks = {name: {"type": name, "source_target": "i"} for name in ("distance_transform", "surface_normals")}
    targets = {"b": {}, "c": {}, "i": {}, "r": {}, "s": {"kind": "classes", "activation": "sigmoid"}}
    heads = resolve_heads(config(targets, tasks), known)
    assert {h.encoding for h in heads} > {"binary", "classes", "boundary", "centre_distance", "regression"}
    check_heads(heads, 3)


def test_measured_values_are_scaled_to_the_order_of_one():
    head = one({"kind": "regression"}, TargetFacts(integer=False, max_value=500))
    assert head.scale == 500
    assert head.losses[0].weight == pytest.approx(1 / 500**2)


def test_heads_survive_json():
    tasks = {"d": {"type": "distance_transform", "source_target": "n"}}
    for head in resolve_heads(config({"n": {"kind": "instances"}}, tasks), facts(3)):
        assert Head.from_dict(json.loads(json.dumps(head.to_dict()))) == head


def test_a_damaged_description_is_refused():
    values = one({"kind": "binary"}).to_dict()
    with pytest.raises(ConfigError, match="encoding"):
        Head.from_dict({**values, "encoding": "binnary"})
    with pytest.raises(ConfigError, match="damaged"):
        Head.from_dict({**values, "colour": "red"})


@pytest.mark.parametrize(
    ("target", "known", "message"),
    [
        ({"kind": "binary", "out_channels": 3}, None, "one channel"),
        ({"kind": "instances", "activation": "softmax"}, None, "use sigmoid"),
        ({"kind": "classes", "out_channels": 2}, TargetFacts(values=(0, 1, 2)), "3 classes"),
        ({"kind": "classes"}, TargetFacts(values=(0,)), "two classes"),
        ({"kind": "regression", "out_channels": 2}, TargetFacts(channels=3), "3 channels"),
        ({"unlabelled": 0}, TargetFacts(values=(0, 1)), "nothing to tell apart"),
    ],
)
def test_contradictions_are_refused_in_words(target, known, message):
    with pytest.raises(ConfigError, match=message):
        one(target, known)


def test_all_faults_are_listed_at_once():
    tasks = {
        "d": {"type": "distance_transform", "source_target": "nucleus"},
        "x": {"type": "surface_normals", "source_target": "b", "out_channels": 7},
        "r2": {"type": "surface_normals", "source_target": "r"},
    }
    known = facts(a=BINARY, b=BINARY, nuclei=MANY, r=TargetFacts(integer=False))
    with pytest.raises(ConfigError) as raised:
        resolve_heads(config(tasks=tasks), known)
    text = str(raised.value)
    assert "Did you mean 'nuclei'" in text
    assert "has 2 in 2D" in text
    assert "measured values" in text


def test_two_outputs_cannot_share_a_name():
    with pytest.raises(ConfigError, match="'n_distance' belongs to"):
        resolve_heads(config({"n": {"kind": "instances"}, "n_distance": {"kind": "regression"}}), facts())


def test_targets_come_from_the_data_when_none_is_configured():
    heads = resolve_heads(config(), facts(cell=BINARY, nuclei=MANY))
    assert [h.name for h in heads] == ["cell", "nuclei", "nuclei_boundary", "nuclei_distance"]
    with pytest.raises(ConfigError, match="no target"):
        resolve_heads(config(), facts())


def test_several_targets_read_one_label_file():
    known = facts(organelles=TargetFacts(values=(0, 1, 2)))
    targets = {
        "mito": {"labels": "organelles", "values": [1]},
        "all": {"labels": "organelles"},
    }
    assert {n: t.kind for n, t in resolve_targets(config(targets), known).items()} == {
        "mito": "binary",
        "all": "classes",
    }


def test_values_that_may_be_objects_are_said_unless_the_user_decided():
    ids, few = TargetFacts(values=tuple(range(21))), TargetFacts(values=tuple(range(6)))
    known = facts(cells=ids, tissue=few)
    [said] = doubtful_kinds(config({}), known).values()
    assert said.startswith("target 'cells': its 20 label values are taken for 20 classes")
    assert "kind to instances" in said
    for meant in (
        {"kind": "classes"},
        {"kind": "instances"},
        {"values": list(range(21))},
        {"out_channels": 21},
    ):
        assert doubtful_kinds(config({"cells": meant}), facts(cells=ids)) == {}
