"""Every rule of the doctor fires where it should, and its remedy is a change that it is content with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from napari_segtrain.config import DataFacts, ExperimentConfig, TargetFacts
from napari_segtrain.data import find_leakage, open_layers
from napari_segtrain.network import Inventory
from napari_segtrain.runs import Finding, Warned
from napari_segtrain.training import NonFiniteLossError, planned_split, resolve
from napari_segtrain.training.doctor import (
    RULES,
    RUNNING_RULES,
    Amount,
    Case,
    Course,
    amounts_of,
    case_of,
    examine,
    examine_course,
    memory_estimate,
)
from napari_segtrain.training.ladder import rungs

MACHINE = Inventory(why_no_gpu="there is none", why_no_mps="there is none")
ROOM = 2**40


def facts_of(values: tuple[int, ...] = (0, 1), shape: tuple[int, ...] = (256, 256)) -> DataFacts:
    known = TargetFacts(values=values, max_value=max(values))
    return DataFacts(ndim=len(shape), shape=shape, spacing=(1.0,) * len(shape), targets={"fg": known})


PLENTY = Amount(65536, 65536, 20000, {0: 45536, 1: 20000}, (8.0, 8.0))


@dataclass(frozen=True)
class Trouble:
    """What a rule should notice: changes of a healthy case."""

    words: str
    config: dict[str, Any] = field(default_factory=dict)
    amount: Amount = PLENTY
    values: tuple[int, ...] = (0, 1)
    cured: bool = True
    rest: dict[str, Any] = field(default_factory=dict)


SPARSE = Amount(65536, 65536, 900, {0: 64636, 1: 500, 2: 400}, (5.0, 5.0))
TROUBLES = {
    "slow_device": Trouble("hours on this processor", {"tr_config.num_epochs": 5000}, rest={"seconds": 20.0}),
    "memory": Trouble("GB are free", {"tr_config.batch_size": 16}, rest={"free": 3_000_000}),
    "batches": Trouble("GB are free", {"tr_config.batch_size": 64}, rest={"ram": 8_000_000}),
    "patch_size": Trouble("take larger patches", amount=Amount(65536, 65536, 9000, {}, (40.0, 30.0))),
    "kinds": Trouble("object of its own", {"dataset_config.targets.fg.kind": None}, values=tuple(range(20))),
    "class_balance": Trouble(
        "is foreground", amount=Amount(65536, 65536, 100, {0: 65436, 1: 100}, (5.0, 5.0))
    ),
    "unlabelled": Trouble(
        "nothing was painted", {"dataset_config.targets.fg.kind": None}, SPARSE, values=(0, 1, 2)
    ),
    "learning_rate": Trouble("will probably diverge", {"tr_config.optimizer.lr": 0.5}),
    "leakage": Trouble("have the same", cured=False, rest={"leaks": ("train and test have the same image",)}),
}


def a_case(config: ExperimentConfig, trouble: Trouble) -> Case:
    resolved = resolve(config, facts_of(trouble.values), MACHINE)
    return Case(config, resolved, {"fg": trouble.amount}, **{"free": ROOM, "seconds": 0.01, **trouble.rest})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_finds_its_trouble_and_the_remedy_helps(rule: Any, tiny_config: Callable[..., Any]) -> None:
    trouble = TROUBLES[rule.__name__]
    healthy = tiny_config(auxiliary_tasks={}, tr_config__patch_size=[32, 32])
    assert list(rule(a_case(healthy, Trouble("")))) == []
    config = healthy.with_overrides(trouble.config)
    [finding] = rule(a_case(config, trouble))
    assert trouble.words in finding.sentence
    assert finding in examine(a_case(config, trouble))
    assert bool(finding.remedy) == trouble.cured
    if trouble.cured:
        assert list(rule(a_case(finding.cured(config), trouble))) == []


def test_a_rare_class_is_found_too(tiny_config: Callable[..., Any]) -> None:
    changes = {"dataset_config__targets": {"fg": {"kind": "classes"}}, "auxiliary_tasks": {}}
    amount = Amount(65536, 65536, 30000, {0: 35536, 1: 29900, 2: 100}, (8.0, 8.0))
    case = a_case(tiny_config(**changes), Trouble("", amount=amount, values=(0, 1, 2)))
    [finding] = [finding for finding in examine(case) if finding.rule == "class_balance"]
    assert "the value 2" in finding.sentence
    assert finding.remedy == {"dataset_config.balance_classes": True}


def test_a_gpu_that_is_left_aside_is_named(tiny_config: Callable[..., Any]) -> None:
    [finding] = examine(a_case(tiny_config(auxiliary_tasks={}), Trouble("", rest={"gpus": 1})))
    assert finding.remedy == {"tr_setup.device": "auto"}


def test_memory_that_no_batch_fits_gets_smaller_patches(tiny_config: Callable[..., Any]) -> None:
    config = tiny_config(auxiliary_tasks={}, tr_config__patch_size=[128, 128], tr_config__batch_size=1)
    [finding] = examine(a_case(config, Trouble("", rest={"free": 3_000_000})))
    assert max(finding.remedy["tr_config.patch_size"]) < 128


def test_what_the_run_will_do_by_itself_is_what_is_offered(tiny_config: Callable[..., Any]) -> None:
    config = tiny_config(auxiliary_tasks={}, tr_config__patch_size=None, tr_config__batch_size=None)
    planned = resolve(config, facts_of(), MACHINE)
    halved = next(rung for rung in rungs(config, planned) if rung.patch_size != planned.patch_size)
    case = Case(config, planned, {"fg": PLENTY}, halved.memory * 2, 0.01, fitted=halved)
    [finding] = [found for found in examine(case) if found.rule == "memory"]
    assert "the run will have patches of" in finding.sentence
    cured = resolve(finding.cured(config), facts_of(), MACHINE)
    assert (cured.patch_size, cured.batch_size, cured.load) == (
        halved.patch_size,
        halved.batch_size,
        halved.load,
    )
    # What a step has shown to fit is no trouble, whatever the estimate says.
    proved = Case(config, planned, {"fg": PLENTY}, planned.memory // 2, 0.01, fitted=planned)
    assert not [found for found in examine(proved) if found.rule == "memory"]


def test_what_the_labels_hold_is_known_from_the_one_look_at_them() -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[5:15, 10:30] = 1
    labels[15:25, 10:30] = 2
    layers = [{"id": "a", "image": np.zeros((40, 60)), "labels": {"fg": labels}}]
    found = amounts_of(open_layers(layers))["fg"]
    assert found == Amount(2400, 2400, 400, {0: 2000, 1: 200, 2: 200}, (10.0, 20.0))


def test_a_leak_is_cured_by_a_seed_that_deals_the_copies_into_one_part(
    tiny_config: Callable[..., Any],
) -> None:
    config = tiny_config(auxiliary_tasks={}, tr_setup__train_split=0.5)

    def look(config: ExperimentConfig, contents: str) -> tuple[Finding, ...]:
        noise = {name: np.random.default_rng(ord(name)).random((40, 48)) for name in set(contents)}
        labels = (noise[contents[0]] > 0.5).astype(np.uint8)
        layers = [
            {"id": str(number), "image": noise[name], "labels": {"fg": labels}}
            for number, name in enumerate(contents)
        ]
        dataset = open_layers(layers, config.dataset_config)
        resolved = resolve(config, facts_of(), MACHINE)
        leaks = find_leakage(dataset, planned_split(config, dataset, resolved))
        found = examine(case_of(config, resolved, dataset, leaks))
        return tuple(finding for finding in found if finding.rule == "leakage")

    leaky = [config.with_overrides({"tr_setup.seed": seed}) for seed in range(20)]
    found = [(config, *finding) for config in leaky if (finding := look(config, "abcab"))]
    assert len(found) > 2
    for config, finding in found:
        assert finding.sentence.endswith(
            f"The seed {finding.remedy['tr_setup.seed']} deals them into one part"
        )
        assert look(finding.cured(config), "abcab") == ()
    # Of two equal images each part has one, whatever the seed: the sentence says what to do instead.
    [finding] = look(config, "aa")
    assert (finding.remedy, "take the copies out" in finding.sentence) == ({}, True)


def test_what_a_step_needs_and_what_there_is_is_a_note(tiny_config: Callable[..., Any]) -> None:
    config = tiny_config(auxiliary_tasks={}, tr_config__patch_size=[32, 32], tr_config__batch_size=2)
    note = memory_estimate(a_case(config, Trouble("", rest={"free": 3 * 2**30})))
    assert (note.severity, note.remedy) == ("note", {})
    assert "patches of 32 × 32 in batches of 2, needs about 0.0" in note.sentence
    assert note.sentence.endswith(" GB of the 3.0 GB of memory that are free on cpu")


# ------------------------------------------------------------------------------------------ while it runs


def rows(**series: list[float]) -> list[dict[str, float]]:
    return [
        {"epoch": number + 1, **{name: values[number] for name, values in series.items()}}
        for number in range(len(next(iter(series.values()))))
    ]


FALLING = [1.0, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.38]
RISING = [1.0, 0.6, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75]
COURSES: dict[str, dict[str, Any]] = {
    "collapse": {"rows": rows(train_loss=FALLING), "one_sided": {"fg": 3}},
    "divergence": {"rows": rows(train_loss=[1.0, 0.5, 0.6, 1.4, 2.0])},
    "over_fitting": {"rows": rows(train_loss=FALLING, val_loss=RISING)},
    "fighting": {"rows": rows(train_fg_loss=RISING, train_distance_loss=FALLING)},
}


@pytest.mark.parametrize("rule", RUNNING_RULES, ids=lambda rule: rule.__name__)
def test_a_course_that_goes_wrong_is_found_and_the_remedy_is_valid(rule: Any, tiny_config) -> None:
    config = tiny_config()
    heads = resolve(config, facts_of(), MACHINE).heads
    well = rows(train_loss=FALLING, val_loss=FALLING, train_fg_loss=FALLING, train_distance_loss=FALLING)
    assert examine_course(Course(config, heads, well, {"fg": 2})) == ()
    [finding] = rule(Course(config, heads, **COURSES[rule.__name__]))
    assert finding in examine_course(Course(config, heads, **COURSES[rule.__name__]))
    assert "next run" in finding.sentence
    assert finding.cured(config) != config


def test_a_network_that_learns_by_heart_has_a_remedy_whatever_was_done_already(tiny_config) -> None:
    config = tiny_config(auxiliary_tasks={}, dataset_config__augmentation={"enabled": False})
    heads = resolve(config, facts_of(), MACHINE).heads
    course = COURSES["over_fitting"]
    offered = []
    for _ in range(4):
        [finding] = examine_course(Course(config, heads, **course))
        offered += finding.remedy.items()
        config = finding.cured(config)
    assert offered == [
        ("dataset_config.augmentation.enabled", True),
        ("tr_config.early_stopping", 10),
        ("tr_config.optimizer.weight_decay", 0.1),
        ("tr_config.num_epochs", 3),
    ]
    assert "3 epochs" in finding.sentence and "on resuming" not in finding.sentence


def test_losses_that_begin_late_are_no_divergence(tiny_config) -> None:
    late = {"fg": {"kind": "binary", "losses": ["BCEWithLogitsLoss", {"name": "DiceLoss", "start_epoch": 1}]}}
    config = tiny_config(dataset_config__targets=late, auxiliary_tasks={})
    heads = resolve(config, facts_of(), MACHINE).heads
    assert examine_course(Course(config, heads, rows(train_loss=[0.1, 1.0, 1.0, 0.9]))) == ()


def test_a_training_is_told_of_each_trouble_once(make_experiment) -> None:
    made = make_experiment(tr_config__num_epochs=5, tr_config__optimizer__lr=0.0, auxiliary_tasks={})
    for bias in made.experiment.module.network.heads["_fg"]:
        torch.nn.init.zeros_(bias.weight)
        torch.nn.init.constant_(bias.bias, -9.0)
    made.fit()
    found = [event.finding for event in made.of(Warned) if event.finding is not None]
    assert [(finding.rule, finding.subject) for finding in found] == [("collapse", "fg")]


def test_a_loss_that_is_no_number_comes_with_a_lower_rate(make_experiment) -> None:
    made = make_experiment(auxiliary_tasks={})
    next(made.experiment.module.network.parameters()).data.fill_(float("nan"))
    with pytest.raises(NonFiniteLossError):
        made.fit()
    [finding] = [event.finding for event in made.of(Warned) if event.finding is not None]
    assert finding.severity == "fault"
    assert finding.remedy == {"tr_config.optimizer.lr": 0.00033}
