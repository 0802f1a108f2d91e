"""What the doctor looks at before a training begins: machine, memory, sizes, labels, settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_segtrain.config import ConfigError, ExperimentConfig
from napari_segtrain.data.leakage import seed_that_separates
from napari_segtrain.data.ram import main_memory
from napari_segtrain.network import Inventory, estimate_memory, step_seconds
from napari_segtrain.runs import Finding
from napari_segtrain.targets import doubtful_kinds, resolve_targets

from ..building import planned_split
from ..ladder import in_words, rungs, settings
from ..memory import SHARE, suggest_fit
from ..resolve import ResolvedExperiment, plan_network
from ..trial import fit, room

if TYPE_CHECKING:
    from napari_segtrain.data import Dataset, Split

_LONG = 12 * 3600.0
_EVENING = 8 * 60.0
"""Minutes of a training that is there the next morning."""
_FILLS = 0.75
"""Share of a patch that an object may take along every axis: with more there is no border to learn from."""
_RARE = 0.01
_OFTEN = 0.66
_RATES = {"SGD": (1e-4, 0.1), "": (1e-5, 0.01)}
"""Learning rates with which such networks learn, by optimizer; the empty name is for Adam and its kin."""


@dataclass(frozen=True)
class Amount:
    """How much of what is in the labels of one target, over all images.

    Attributes
    ----------
    voxels, labelled, foreground
        Voxels that were looked at; those that count; those of them that are not background.
    counts
        Voxels of each label value that counts, of whole numbers; at most 256 values.
    extent
        Mean length of what is foreground along each axis, (z,) y, x, in voxels; empty where there is none.
    """

    voxels: int = 0
    labelled: int = 0
    foreground: int = 0
    counts: Mapping[int, int] = field(default_factory=dict)
    extent: tuple[float, ...] = ()


@dataclass(frozen=True)
class Case:
    """An experiment, what it means for its data and this machine, and what is known of both.

    Attributes
    ----------
    config
        The experiment, with its targets.
    resolved
        What follows from it.
    amounts
        What the labels hold, by target.
    free
        Bytes that are free on the device for each process of the training.
    seconds
        Estimated time of one step of the optimizer; None where nobody knows, as on a GPU.
    gpus
        GPUs of this machine.
    leaks
        A sentence for each way in which parts of the split are not separate.
    separating
        A seed with which what leaks is in one part of the split; None where none is known.
    fitted
        What a real training step showed to fit; None where none was taken.
    ram
        Bytes of the processor's memory that are free.
    """

    config: ExperimentConfig
    resolved: ResolvedExperiment
    amounts: Mapping[str, Amount]
    free: int
    seconds: float | None = None
    gpus: int = 0
    leaks: tuple[str, ...] = ()
    separating: int | None = None
    fitted: ResolvedExperiment | None = None
    ram: float = math.inf


def case_of(
    config: ExperimentConfig,
    resolved: ResolvedExperiment,
    dataset: Dataset,
    leaks: Sequence[str] = (),
    *,
    tried: bool = False,
) -> Case:
    """Gather what the rules look at; labels that were looked at before are not read again.

    Parameters
    ----------
    config, resolved, dataset, leaks
        See `Case`.
    tried
        Take the training step that a run takes before it begins, where an estimate leaves it open whether
        it fits.
    """
    seconds = None
    if resolved.accelerator == "cpu":
        seconds = step_seconds(resolved.plan, resolved.batch_size) * resolved.accumulate
    return Case(
        config,
        resolved,
        amounts_of(dataset),
        room(resolved),
        seconds,
        Inventory.of_this_machine().gpus,
        tuple(leaks),
        _separating(config, resolved, dataset) if leaks else None,
        fit(config, resolved) if tried else None,
        main_memory().free,
    )


def _separating(config: ExperimentConfig, resolved: ResolvedExperiment, dataset: Dataset) -> int | None:
    def split_of(seed: int) -> Split:
        return planned_split(config.with_overrides({"tr_setup.seed": seed}), dataset, resolved)

    return seed_that_separates(dataset, split_of, config.tr_setup.seed)


def amounts_of(dataset: Dataset) -> dict[str, Amount]:
    """Add up what the labels of each target hold."""
    found: dict[str, Amount] = {}
    for name in dataset.targets:
        scans = [dataset.scan(r.id, name) for r in dataset.labelled_records() if name in r.labels]
        counts: dict[int, int] = {}
        for scan in scans:
            for value, count in scan.counts:
                counts[value] = counts.get(value, 0) + count
        foreground = sum(scan.foreground for scan in scans)
        runs = [sum(along) for along in zip(*(scan.runs for scan in scans if scan.runs), strict=True)]
        extent = tuple(foreground / n for n in runs) if runs and min(runs) else ()
        voxels, labelled = (sum(getattr(scan, what) for scan in scans) for what in ("voxels", "labelled"))
        found[name] = Amount(voxels, labelled, foreground, counts, extent)
    return found


def slow_device(case: Case) -> Iterator[Finding]:
    """Find a training that takes longer than half a day on a processor, and a GPU that is left aside."""
    config, resolved = case.config, case.resolved
    if case.gpus and resolved.accelerator == "cpu" and config.tr_setup.device == "cpu":
        yield Finding(
            rule="hardware",
            severity="warning",
            sentence="this machine has a GPU, and the training would use the processor",
            remedy={"tr_setup.device": "auto"},
        )
        return
    if case.seconds is None or config.tr_config.max_time is not None:
        return
    seconds = case.seconds * _steps(case) * config.tr_config.num_epochs
    if seconds > _LONG:
        yield Finding(
            rule="hardware",
            severity="warning",
            sentence=f"{config.tr_config.num_epochs} epochs take about {seconds / 3600:.0f} hours on this "
            "processor, as busy as it is now; with a time limit of 8 hours the learning rate falls to its "
            "end by then",
            remedy={"tr_config.max_time": _EVENING},
        )


def _steps(case: Case) -> float:
    """Return the steps of an epoch, of which the automatic number is between 10 and 250."""
    if case.resolved.steps_per_epoch is not None:
        return case.resolved.steps_per_epoch
    labelled = max((amount.labelled for amount in case.amounts.values()), default=0)
    patches = labelled / math.prod(case.resolved.patch_size)
    return min(250.0, max(10.0, patches / case.resolved.effective_batch))


def memory(case: Case) -> Iterator[Finding]:
    """Find a step that needs more memory than is free, and say what the run makes of it."""
    resolved = case.resolved
    chosen = case.fitted if case.fitted is not None else _by_estimate(case)
    if chosen is resolved:
        return
    sentence = (
        f"a training step needs about {resolved.memory / 2**30:.1f} GB of memory, and "
        f"{case.free / 2**30:.1f} GB are free"
    )
    remedy = {} if chosen is None else settings(resolved, chosen)
    if chosen is not None and not _too_large(case, chosen):
        sentence += f": the run will have {in_words(resolved, chosen)}"
    elif smaller := _smaller(case):
        remedy = smaller
    yield Finding(rule="memory", severity="warning", sentence=sentence, remedy=remedy)


def memory_estimate(case: Case) -> Finding:
    """Return how much memory a step needs, and how much there is: worth knowing also where it fits."""
    resolved = case.resolved
    patch = " × ".join(map(str, resolved.patch_size))
    return Finding(
        rule="memory",
        severity="note",
        sentence=f"a training step, with patches of {patch} in batches of {resolved.batch_size}, needs about "
        f"{_gigabytes(resolved.memory)} of the {_gigabytes(case.free)} of memory that are free on "
        f"{resolved.device}",
    )


def _gigabytes(amount: float) -> str:
    gigabytes = amount / 2**30
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{gigabytes:.2g} GB"


def batches(case: Case) -> Iterator[Finding]:
    """Find batches for which the machine, or the container around us, has no memory beside the step."""
    resolved = case.resolved
    processes = len(resolved.devices)
    chosen = case.fitted if case.fitted is not None else _by_estimate(case)
    on_cpu = resolved.accelerator == "cpu"
    step = processes * chosen.memory if on_cpu and chosen is not None else 0
    # One that is computed, and one that is prepared.
    needed = 2 * processes * resolved.batch_bytes
    if chosen is None or step + needed <= SHARE * case.ram:
        return
    parts = 2
    while parts < resolved.batch_size and step + needed / parts > SHARE * case.ram:
        parts *= 2
    remedy: dict[str, Any] = {}
    if resolved.batch_size > 1:
        remedy["tr_config.batch_size"] = max(1, resolved.batch_size // parts)
        remedy["tr_config.accumulate"] = resolved.accumulate * min(parts, resolved.batch_size)
    beside = f" beside the {step / 2**30:.1f} GB of a training step" if on_cpu else ""
    yield Finding(
        rule="batches",
        severity="warning",
        sentence=f"batches of {resolved.batch_size} take about {needed / 2**30:.1f} GB of this machine's "
        f"memory{beside}, and {case.ram / 2**30:.1f} GB are free",
        remedy=remedy,
    )


def _too_large(case: Case, chosen: ResolvedExperiment) -> bool:
    return chosen.memory > SHARE * case.free


def _by_estimate(case: Case) -> ResolvedExperiment | None:
    """Return what should fit, as far as an estimate can tell."""
    fitting = (rung for rung in rungs(case.config, case.resolved) if not _too_large(case, rung))
    return next(fitting, None)


def _smaller(case: Case) -> dict[str, Any]:
    """Return a patch size that fits in the place of the one that was chosen."""
    resolved, config = case.resolved, case.config
    size = suggest_fit(
        resolved.plan, 1, case.free, lambda patch: plan_network(config, resolved.facts, resolved.heads, patch)
    )
    if size is None:
        return {}
    return {"tr_config.patch_size": list(size.patch_size), "tr_config.batch_size": size.batch_size}


def patch_size(case: Case) -> Iterator[Finding]:
    """Find patches that lie inside the objects: the network would see no border, nor what is around."""
    patch, shape = case.resolved.patch_size, case.resolved.facts.shape
    for name, amount in case.amounts.items():
        filled = [e / p for e, p in zip(amount.extent, patch, strict=False)]
        grows = any(n > p for n, p in zip(shape, patch, strict=True))
        if filled and min(filled) > _FILLS and grows:
            sizes = " × ".join(f"{e:.0f}" for e in amount.extent)
            yield Finding(
                rule="patch_size",
                severity="warning",
                subject=name,
                sentence=f"what is painted as {name!r} is about {sizes} voxels large, so that most patches "
                f"of {' × '.join(map(str, patch))} lie inside of it and show no border; take larger patches",
                remedy=_larger_patch(case, amount.extent),
            )


def _larger_patch(case: Case, extent: Sequence[float]) -> dict[str, Any]:
    """Return the largest patch, of up to three objects an axis, that fits into image and memory."""
    config, resolved = case.config, case.resolved
    for times in (3.0, 2.0, 1.5):
        wanted = zip(extent, resolved.patch_size, resolved.facts.shape, strict=True)
        patch = tuple(max(p, min(n, math.ceil(times * e / 16) * 16)) for e, p, n in wanted)
        try:
            plan = plan_network(config, resolved.facts, resolved.heads, patch)
        except ConfigError:
            continue
        if estimate_memory(plan, 1) <= SHARE * case.free:
            batch = resolved.batch_size
            while batch > 1 and estimate_memory(plan, batch) > SHARE * case.free:
                batch //= 2
            return {"tr_config.patch_size": list(plan.patch_size), "tr_config.batch_size": batch}
    return {}


def kinds(case: Case) -> Iterator[Finding]:
    """Find numbered objects that are taken for classes."""
    for name, sentence in doubtful_kinds(case.config, case.resolved.facts).items():
        yield Finding(
            rule="kinds",
            severity="warning",
            subject=name,
            sentence=sentence,
            remedy={f"dataset_config.targets.{name}.kind": "instances"},
        )


def class_balance(case: Case) -> Iterator[Finding]:
    """Find classes, or a foreground, that hardly any patch shows."""
    data, doubtful = case.config.dataset_config, doubtful_kinds(case.config, case.resolved.facts)
    for name, target in resolve_targets(case.config, case.resolved.facts).items():
        amount = case.amounts.get(name, Amount())
        if not amount.labelled or target.kind == "regression":
            continue
        share = amount.foreground / amount.labelled
        if 0 < share < _RARE and data.foreground_oversampling < 0.5:
            yield _unbalanced(
                name,
                f"only {share:.2%} of what is labelled for {name!r} is foreground; draw more patches from it",
                {"dataset_config.foreground_oversampling": _OFTEN},
            )
        if target.kind != "classes" or data.balance_classes or name in doubtful:
            continue
        classes = {value: n for value, n in amount.counts.items() if value != target.unlabelled and n}
        rare = min(classes, key=lambda value: classes[value], default=None)
        if rare is not None and len(classes) > 2 and classes[rare] < _RARE * sum(classes.values()):
            yield _unbalanced(
                name,
                f"only {classes[rare] / sum(classes.values()):.2%} of what is labelled for {name!r} has the "
                f"value {rare}; let rare classes be drawn as often as frequent ones",
                {"dataset_config.balance_classes": True},
            )


def _unbalanced(name: str, sentence: str, remedy: dict[str, Any]) -> Finding:
    return Finding(rule="class_balance", severity="warning", subject=name, sentence=sentence, remedy=remedy)


def unlabelled(case: Case) -> Iterator[Finding]:
    """Find strokes of several values on a ground of zeros that counts as background."""
    for name, target in resolve_targets(case.config, case.resolved.facts).items():
        amount = case.amounts.get(name, Amount())
        painted = {value: n for value, n in amount.counts.items() if value != 0 and n}
        if target.kind != "classes" or target.unlabelled is not None or not amount.labelled:
            continue
        if target.values is not None or len(painted) != 2:
            continue
        share = sum(painted.values()) / amount.labelled
        if share < 0.2:
            one, other = sorted(painted)
            yield Finding(
                rule="unlabelled",
                severity="warning",
                subject=name,
                sentence=f"{1 - share:.0%} of {name!r} is 0 and counts as a class beside {one} and "
                f"{other}; if 0 means that nothing was painted there, say so: then {one} is background and "
                f"{other} foreground",
                remedy={
                    f"dataset_config.targets.{name}.unlabelled": 0,
                    f"dataset_config.targets.{name}.kind": None,
                },
            )


def learning_rate(case: Case) -> Iterator[Finding]:
    """Find a learning rate with which such networks do not learn."""
    optimizer = case.config.tr_config.optimizer
    low, high = _RATES.get(optimizer.name, _RATES[""])
    if low <= optimizer.lr <= high:
        return
    usual = type(optimizer)().lr
    why = "steps are too small to get anywhere" if optimizer.lr < low else "the loss will probably diverge"
    yield Finding(
        rule="learning_rate",
        severity="warning",
        sentence=f"with the learning rate {optimizer.lr:g} of {optimizer.name} {why}; {usual:g} is usual",
        remedy={"tr_config.optimizer.lr": usual},
    )


def leakage(case: Case) -> Iterator[Finding]:
    """Pass on in which ways the parts of the split are not separate; another seed may deal out better."""
    seed = case.separating
    for sentence in case.leaks:
        yield Finding(
            rule="leakage",
            severity="warning",
            sentence=sentence if seed is None else f"{sentence} The seed {seed} deals them into one part",
            remedy={} if seed is None else {"tr_setup.seed": seed},
        )


Rule = Callable[[Case], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    slow_device,
    memory,
    batches,
    patch_size,
    kinds,
    class_balance,
    unlabelled,
    learning_rate,
    leakage,
)


def examine(case: Case) -> tuple[Finding, ...]:
    """Return what all rules find."""
    return tuple(finding for rule in RULES for finding in rule(case))
