"""What every primary target is: its kind, its classes and its background, decided from the data's facts."""

from __future__ import annotations

from ..config import ConfigError, DataFacts, ExperimentConfig, TargetConfig, TargetFacts, TargetKind

MOST_CLASSES = 32
"""Integer labels with more distinct values than this are taken for instance numbers."""
_FEW_CLASSES = 5
"""Up to so many values besides background nobody asks whether they are classes."""


def facts_of(name: str, target: TargetConfig, facts: DataFacts) -> TargetFacts | None:
    """Return what is known of a target's labels, None when nothing is.

    Facts are kept by label name; several targets may read one label file.
    """
    return facts.targets.get(target.labels or name) or facts.targets.get(name)


def background_value(target: TargetConfig, facts: TargetFacts | None = None) -> int:
    """Return the label value that means background.

    With `values` of a classes target it is their first. Else, when 0 means unlabelled (painted
    scribbles), it is the smallest other value that was seen, 1 when nothing is known. Else 0.
    """
    if target.values is not None and kind_without_facts(target) == "classes":
        return target.values[0]
    if target.unlabelled == 0:
        return min((value for value in (facts.values if facts else ()) if value != 0), default=1)
    return 0


def kind_without_facts(target: TargetConfig) -> TargetKind | None:
    """Return the kind as far as the configuration alone decides it."""
    if target.kind is not None:
        return target.kind
    if target.values is not None:
        return "binary" if len(target.values) == 1 else "classes"
    return None


def class_values(name: str, target: TargetConfig, facts: TargetFacts | None) -> tuple[int, ...]:
    """Return the label value of every class, background first; empty when nothing is known.

    Parameters
    ----------
    name
        The target's name, for messages.
    target
        A target of kind classes (or a binary one with two output channels).
    facts
        What is known of its labels.

    Returns
    -------
    tuple of int
        `values` when given; else the values that were seen, extended to `out_channels` classes when
        that many are asked for (labels of a class may not have been painted yet).

    Raises
    ------
    ConfigError
        When `out_channels` is smaller than the number of classes.
    """
    if target.values is not None:
        known: tuple[int, ...] = target.values
        if kind_without_facts(target) == "binary":
            return ()
    else:
        first = background_value(target, facts)
        seen = set(facts.values if facts else ()) - {first, target.unlabelled}
        if target.out_channels is None and not (facts and facts.values):
            return ()
        known = (first, *sorted(seen))
    wanted = target.out_channels
    if wanted is None or wanted == len(known):
        return known
    if target.values is None and set(known) <= set(range(known[0], known[0] + wanted)):
        return tuple(range(known[0], known[0] + wanted))
    if wanted < len(known):
        raise ConfigError(
            f"target {name!r}: out_channels is {wanted}, but the labels have {len(known)} classes "
            f"(values {_listed(known)}). Set out_channels to {len(known)} or leave it empty"
        )
    following = (value for value in range(known[0], known[0] + 2 * wanted + max(known)) if value not in known)
    return known + tuple(value for value, _ in zip(following, range(wanted - len(known)), strict=False))


def resolve_targets(config: ExperimentConfig, facts: DataFacts) -> dict[str, TargetConfig]:
    """Return every primary target with its kind decided.

    Parameters
    ----------
    config
        The experiment. Without targets, every label name of the data is one.
    facts
        What is known of the data.

    Returns
    -------
    dict
        Target name to its configuration, `kind` never empty.

    Raises
    ------
    ConfigError
        When there is no target at all, or the labels of one cannot be told apart; lists every fault.

    Notes
    -----
    An empty kind follows from the labels: not whole numbers → regression; at most two values besides
    the unlabelled one → binary; at most `MOST_CLASSES` → classes; more → instances. Nothing known →
    binary for one input channel, classes for several.
    """
    targets = dict(config.dataset_config.targets) or {name: TargetConfig() for name in sorted(facts.targets)}
    if not targets:
        raise ConfigError(
            "there is no target: name at least one in dataset_config.targets, or put labels as "
            "labels/<image>_<target> beside the images"
        )
    faults: list[str] = []
    resolved: dict[str, TargetConfig] = {}
    for name, target in targets.items():
        known = facts_of(name, target, facts)
        fault = _one_value(name, target, known)
        if fault:
            faults.append(fault)
        resolved[name] = target.replace(kind=_kind(target, known, facts))
    if faults:
        raise ConfigError.listing(faults)
    return resolved


def doubtful_kinds(config: ExperimentConfig, facts: DataFacts) -> dict[str, str]:
    """Return a sentence, by name, for each target whose values were taken for classes and may be objects.

    Twenty painted nuclei and twenty tissues look the same; only the user knows, and `kind` says it.
    """
    said = {}
    for name, target in resolve_targets(config, facts).items():
        asked = config.dataset_config.targets.get(name, TargetConfig())
        if target.kind != "classes" or kind_without_facts(asked) or asked.out_channels is not None:
            continue
        count = len(class_values(name, target, facts_of(name, target, facts))) - 1
        if count > _FEW_CLASSES:
            said[name] = (
                f"target {name!r}: its {count} label values are taken for {count} classes. If each is an "
                "object of its own, set kind to instances; with kind set to classes this is not asked again"
            )
    return said


def _kind(target: TargetConfig, known: TargetFacts | None, facts: DataFacts) -> TargetKind:
    decided = kind_without_facts(target)
    if decided is not None:
        return decided
    if known is not None and (not known.integer or known.channels > 1):
        return "regression"
    if known is not None and known.values:
        count = len(set(known.values) - {target.unlabelled})
        if count <= 2:
            return "classes" if (target.out_channels or 0) > 1 else "binary"
        if target.out_channels == 1:
            return "binary"
        return "classes" if max(count, target.out_channels or 0) <= MOST_CLASSES else "instances"
    channels = target.out_channels or facts.in_channels
    return "binary" if channels == 1 else "classes"


def _one_value(name: str, target: TargetConfig, known: TargetFacts | None) -> str | None:
    """Refuse sparse labels that hold background alone, which nobody means."""
    if known is None or not known.integer or target.values is not None or target.unlabelled is None:
        return None
    if target.kind == "regression":
        return None
    others = [value for value in known.values if value != target.unlabelled]
    if len(others) != 1 or others[0] != background_value(target, known):
        return None
    return (
        f"target {name!r}: besides the unlabelled {target.unlabelled} the labels hold only the value "
        f"{others[0]}, which is background, so there is nothing to tell apart. Paint foreground with a "
        f"larger value, or say which values are foreground (values: [{others[0]}])"
    )


def _listed(values: tuple[int, ...]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown + (", …" if len(values) > 8 else "")
