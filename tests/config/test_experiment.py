import typing

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from napari_segtrain.config import (
    AdamW,
    ConfigError,
    DataError,
    ExperimentConfig,
    LossConfig,
    TargetConfig,
    did_you_mean,
    dump_config,
    load_config,
    wrong_axes,
)
from napari_segtrain.config.auxiliary import TASK_TYPES
from napari_segtrain.config.validation import _flatten


def models(model=ExperimentConfig, seen=None):
    """Yield every model of the schema once."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in _flatten(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from models(inner, seen)


KEYS = [
    pytest.param(model, name, id=f"{model.__name__}.{name}")
    for model in models()
    if model is not ExperimentConfig
    for name in model.model_fields
    if not (name in ("name", "type") and isinstance(model.model_fields[name].default, str))
]


@pytest.mark.parametrize(("model", "name"), KEYS)
def test_every_key_describes_itself(model, name):
    field = model.model_fields[name]
    assert field.title
    assert field.title[0].isupper()
    assert field.description
    assert field.description.endswith(".")
    assert field.json_schema_extra["level"] in ("common", "advanced")


def is_number(model, name):
    annotation = model.model_fields[name].annotation
    alternatives = typing.get_args(annotation) or (annotation,)
    return [a for a in alternatives if a is not type(None)] in ([int], [float])


# A label value may be any whole number.
NUMBERS = [key for key in KEYS if is_number(*key.values) and key.values[1] != "unlabelled"]


@pytest.mark.parametrize(("model", "name"), NUMBERS)
def test_every_number_has_bounds(model, name):
    assert len(NUMBERS) > 40
    assert model.model_fields[name].metadata, "a number needs a lower or upper bound"


def test_yaml_has_the_six_sections_and_reads_back():
    text = dump_config(ExperimentConfig())
    sections = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert sections == ["tr_setup", "tr_config", "model_config", "dataset_config", "inference_config"]
    assert "auxiliary_tasks: {}" in text


losses = st.lists(
    st.builds(
        dict,
        name=st.sampled_from(["BCEDiceLoss", "DiceCELoss"]),
        weight=st.floats(0, 10),
        kwargs=st.dictionaries(
            st.text("abc", min_size=1), st.one_of(st.none(), st.booleans(), st.integers(0, 9))
        ),
    ),
    max_size=2,
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda n: n != "image" and not n.endswith("_mask")
)


@st.composite
def experiments(draw):
    targets = draw(
        st.dictionaries(
            names,
            st.fixed_dictionaries(
                {},
                optional={
                    "kind": st.sampled_from(["binary", "classes", "instances"]),
                    "losses": losses,
                    "unlabelled": st.one_of(st.none(), st.integers(-1, 255)),
                    "weight": st.floats(0, 5),
                },
            ),
            min_size=1,
            max_size=3,
        )
    )
    task = st.fixed_dictionaries(
        {
            "type": st.sampled_from(sorted(TASK_TYPES)),
            "source_target": st.sampled_from(sorted(targets)),
        },
        optional={"loss_weight": st.floats(0, 3)},
    )
    tasks = draw(st.dictionaries(names.filter(lambda n: n not in targets), task, max_size=2))
    return ExperimentConfig.parse(
        {
            "tr_config": {
                "patch_size": draw(st.sampled_from([None, (64, 64), (16, 32, 32)])),
                "optimizer": draw(st.sampled_from([{"name": "AdamW"}, {"name": "SGD", "momentum": 0.5}])),
                "scheduler": draw(st.sampled_from([{"name": "poly"}, {"name": "step", "every": 3}])),
            },
            "model_config": {"features": draw(st.sampled_from([None, (8, 16)]))},
            "dataset_config": {"targets": targets},
            "auxiliary_tasks": tasks,
        }
    )


@given(experiments())
def test_any_experiment_survives_yaml(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("yaml") / "experiment.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_an_override_counts_also_when_it_is_zero():
    config = ExperimentConfig().with_overrides({"tr_config.optimizer.lr": 0, "model_config.base_features": 8})
    assert config.tr_config.optimizer == AdamW(lr=0.0)
    assert config.network.base_features == 8
    assert config.tr_setup == ExperimentConfig().tr_setup


def test_replace_validates_and_leaves_the_original():
    config = ExperimentConfig().tr_config
    assert config.replace(num_epochs=3).num_epochs == 3
    assert config.num_epochs == 50
    with pytest.raises(ValidationError):
        config.replace(num_epochs=0)
    with pytest.raises(ValidationError):
        config.num_epochs = 3


def target(**changes):
    return {"dataset_config": {"targets": {"cells": changes}}}


def task(source):
    return {"type": "distance_transform", "source_target": source}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tr_confg": {}}, ["tr_confg: unknown key", "Did you mean 'tr_config'?"]),
        ({"tr_config": {"num_epoch": 3}}, ["tr_config.num_epoch", "Did you mean 'num_epochs'?"]),
        ({"tr_config": {"optimizer": {"name": "adamw"}}}, ["tr_config.optimizer", "Did you mean 'AdamW'?"]),
        (
            {"tr_config": {"scheduler": {"name": "poly", "exponnt": 1}}},
            ["tr_config.scheduler.exponnt", "'exponent'"],
        ),
        ({"tr_config": {"num_epochs": 0}}, ["tr_config.num_epochs: 0 is not allowed", "greater than"]),
        ({"tr_config": {"patch_size": [64]}}, ["tr_config.patch_size", "two (2D) or three (3D)"]),
        ({"tr_setup": {"device": "gpuu"}}, ["tr_setup.device: 'gpuu'", "auto takes the first GPU"]),
        ({"inference_config": {"tile_size": [64]}}, ["inference_config.tile_size", "two (2D) or three (3D)"]),
        (target(kind="binry"), ["targets.cells.kind", "Did you mean 'binary'?"]),
        (target(losses=[{"nam": "x"}]), ["targets.cells.losses.0.nam", "Did you mean 'name'?"]),
        (target(activation="softmax", channels=1), ["softmax needs at least 2"]),
        ({"dataset_config": {"targets": {"a_mask": {}}}}, ["cannot be called 'a_mask'"]),
        (
            {**target(), "auxiliary_tasks": {"d": {"type": "distance_transform", "source_target": "cell"}}},
            ["auxiliary_tasks.d.source_target: 'cell' is not a target", "Did you mean 'cells'?"],
        ),
        (
            {**target(), "auxiliary_tasks": {"cells": {"type": "surface_normals", "source_target": "cells"}}},
            ["auxiliary_tasks.cells: a target has this name"],
        ),
        (
            {
                **target(kind="regression"),
                "auxiliary_tasks": {"d": {"type": "surface_normals", "source_target": "cells"}},
            },
            ["'cells' holds measured values, which have no surface"],
        ),
        ({"tr_config": {"lr": 1}}, ["tr_config.lr: unknown key", "It is a key of tr_config.optimizer."]),
        (target(chanels=2), ["targets.cells.chanels: unknown key", "Did you mean 'out_channels'?"]),
        ({"tr_config": {"patch_size": 64}}, ["tr_config.patch_size: 64", "give a list"]),
        ({"tr_config": {"optimizer": "sgd"}}, ["tr_config.optimizer: 'sgd'", "such as {name: SGD}"]),
        ({"tr_config": 3}, ["tr_config: 3", "give keys and their values"]),
        ({"dataset_config": {"targets": ["cells"]}}, ["targets: ['cells']", "give names"]),
        ({"auxiliary_tasks": {"d": {"type": "distance"}}}, ["Did you mean 'distance_transform'?"]),
        ({"auxiliary_tasks": {"d": {"source_target": "x"}}}, ["the key 'type' is missing"]),
        (
            {**target(), "auxiliary_tasks": {"a": task("b"), "b": task("c"), "c": task("cells")}},
            [
                "auxiliary_tasks.a.source_target: 'b' is an auxiliary task, and tasks are derived",
                "auxiliary_tasks.b.source_target: 'c' is an auxiliary task",
                "Did you mean 'cells', its own source?",
            ],
        ),
        (
            {"auxiliary_tasks": {"a": task("b"), "b": task("a")}},
            [
                "auxiliary_tasks.a.source_target: tasks cannot be derived from each other in a circle "
                "('b' from 'a' from 'b'); name a target",
                "auxiliary_tasks.b.source_target: tasks cannot",
            ],
        ),
        ({"auxiliary_tasks": {"a": task("a")}}, ["in a circle ('a' from 'a'); name a target"]),
        (
            {
                "auxiliary_tasks": {
                    "v": {"type": "inplane_direction", "source_target": "a", "ds_interpolation": "linear"}
                }
            },
            ["auxiliary_tasks.v.ds_interpolation: directions have no sign", "use nearest"],
        ),
    ],
)
def test_a_mistake_is_named_with_the_nearest_valid_choice(values, words):
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.parse(values, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("dotted", ["tr_config.patch_size.x", "tr_setup.seed.x.y", "nothing.x"])
def test_an_override_of_what_has_no_keys_is_refused(dotted):
    with pytest.raises(ConfigError, match=dotted.rpartition(".")[0]):
        ExperimentConfig().with_overrides({dotted: 1})


def test_settings_are_amended_or_refused_in_words():
    config = ExperimentConfig().inference_config
    assert config.amended({"overlap": 0}, "--overlap").overlap == 0.0
    with pytest.raises(ConfigError, match=r"^option: overlp: unknown key. Did you mean 'overlap'"):
        config.amended({"overlp": 0.1}, "option")
    with pytest.raises(ConfigError, match=r"^option: overlap: 2 is not allowed"):
        config.amended({"overlap": 2}, "option")


def test_a_heading_without_anything_below_it_is_the_default():
    written = yaml.safe_load("tr_setup:\ndataset_config:\n  targets:\n    cells:\n")
    assert ExperimentConfig.parse(written) == ExperimentConfig.parse(target())


@pytest.mark.parametrize(("word", "switch"), [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_yaml_reads_on_and_off_as_truth_values_and_the_switch_does_not(word, switch):
    config = ExperimentConfig.parse(yaml.safe_load(f"tr_setup: {{compile: {word}}}"))
    assert config.tr_setup.compile == switch
    assert ExperimentConfig.parse(yaml.safe_load(dump_config(config))) == config


def test_all_mistakes_are_listed_at_once():
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.parse({"tr_config": {"num_epochs": 0, "lr": 1}, "x": 1}, "mine.yaml")
    assert "3 faults" in str(caught.value)


@pytest.mark.parametrize(
    ("short", "name"), [("mse", "MSELoss"), ("mae", "L1Loss"), ("huber", "SmoothL1Loss")]
)
def test_losses_have_short_names(short, name, tmp_path):
    for written in (short, [short], [{"name": short, "weight": 2}]):
        assert TargetConfig.model_validate({"losses": written}).losses[0].name == name
    file = tmp_path / "short.yaml"
    file.write_text(f"dataset_config: {{targets: {{cells: {{losses: [{short}]}}}}}}")
    config = load_config(file)
    assert config.dataset_config.targets["cells"].losses == (LossConfig(name=name),)
    assert f"name: {name}" in dump_config(config)


def test_losses_may_be_written_as_names():
    one = TargetConfig.model_validate({"losses": {"name": "MSELoss", "weight": 2}}).losses
    assert [(loss.name, loss.weight) for loss in one] == [("MSELoss", 2.0)]
    written = [{"losses": "BCEDiceLoss, MSELoss"}, {"losses": ["BCEDiceLoss", {"name": "MSELoss"}]}]
    first, second = (TargetConfig.model_validate(values) for values in written)
    assert first == second
    assert [loss.name for loss in first.losses] == ["BCEDiceLoss", "MSELoss"]


def test_channels_is_another_word_for_out_channels():
    assert TargetConfig.model_validate({"channels": 3}).out_channels == 3
    assert TargetConfig.model_validate({"channels": 3, "out_channels": 3}).out_channels == 3
    spelt = ExperimentConfig.parse(target()).with_overrides({"dataset_config.targets.cells.channels": 3})
    assert spelt == ExperimentConfig.parse(target(out_channels=3))
    assert spelt.dataset_config.targets["cells"].to_dict()["out_channels"] == 3
    with pytest.raises(ConfigError, match=r"targets\.cells: channels is 2 and out_channels 3; give one"):
        ExperimentConfig.parse(target(channels=2, out_channels=3))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (":\n- [", "not valid YAML"),
        (
            "tr_config: {num_epochs: 3\n  x: ]",
            r"not valid YAML, line 2, column 4: expected ',' or '}', but got",
        ),
        ("- 1\n- 2\n", "holds a list, but an experiment has sections with keys: tr_setup"),
        (b"\xff\xfe\x00", "is not a text file"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_experiment_is_named(tmp_path, text, words):
    path = tmp_path / "e.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_an_empty_file_is_the_default_experiment(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text("")
    assert load_config(path) == ExperimentConfig()


def test_did_you_mean_says_nothing_where_nothing_is_near():
    assert did_you_mean("zzzz", ["alpha", "beta"]) == "Allowed: alpha, beta."


def test_of_many_faults_the_first_are_listed_and_the_others_counted():
    error = DataError.listing([f"image {n} is empty" for n in range(25)], "data")
    lines = str(error).splitlines()
    assert lines[:2] == ["data: 25 faults", "- image 0 is empty"]
    assert lines[-1] == "- and 5 more; segtrain check lists all"
    assert len(error.faults) == 25
    assert str(DataError.listing(["a"], "data")) == "data: a"
    assert DataError("a").faults == ("a",)


def test_every_fault_of_the_auxiliary_tasks_is_listed():
    task = {"type": "distance_transform", "source_target": "cels"}
    with pytest.raises(ConfigError, match=r"mine.yaml: 3 faults\n") as caught:
        ExperimentConfig.parse({**target(), "auxiliary_tasks": {"a": task, "cells": task}}, "mine.yaml")
    assert caught.value.faults[0].startswith("auxiliary_tasks.a.source_target: 'cels' is not a target. Did")


def test_a_size_needs_a_number_for_each_axis():
    assert wrong_axes("tr_config.patch_size", (8, 8), 2) is None
    sentence = wrong_axes("tr_config.patch_size", (64, 64), 3)
    assert (
        sentence
        == "tr_config.patch_size: 64,64 has 2 numbers, but the data is 3D; give 3 in array order z,y,x"
    )
