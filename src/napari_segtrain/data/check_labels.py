"""Finds faults in the labels of a data set."""

from __future__ import annotations

from ..config import DataError, TargetConfig
from ..targets.kinds import kind_without_facts
from .dataset import Dataset
from .naming import first_names
from .scan import LabelScan

LARGEST_ID = 2**31 - 1
MOST_LISTED = 5


def check_labels(dataset: Dataset, errors: list[str], warnings: list[str]) -> None:
    """Look at the labels of every target on every record; add sentences to `errors` and `warnings`."""
    for name, target in dataset.targets.items():
        scans: dict[str, LabelScan] = {}
        unreadable = False
        for record in dataset.labelled_records():
            if name not in record.labels:
                continue
            try:
                scans[record.id] = dataset.scan(record.id, name)
            except DataError as error:
                errors.append(str(error))
                unreadable = True
        for record_id, scan in scans.items():
            errors.extend(_wrong_values(record_id, name, target, scan))
        if kind_without_facts(target) is None:
            _check_measured(dataset, name, scans, errors, warnings)
        if scans and not unreadable:
            _check_amount(name, target, scans, errors, warnings)
            warnings.extend(_outside_classes(dataset, name, target, scans))


def _check_measured(
    dataset: Dataset, name: str, scans: dict[str, LabelScan], errors: list[str], warnings: list[str]
) -> None:
    """Say which labels without a kind are taken for measured values, which may not be meant."""
    for record, scan in scans.items():
        if scan.channels > 1 and scan.integer:
            warnings.append(
                f"{record}: labels {name!r} have {scan.channels} channels and are taken for measured "
                "values. If they are classes or objects, save them as numbers, not as colours."
            )
    broken = [record for record, scan in scans.items() if not scan.integer and scan.finite]
    whole = [i for i in scans if dataset.records[i].labels[name].dtype.kind in "biu" and i not in broken]
    if broken and whole:
        errors.append(
            f"labels {name!r} are whole numbers on {first_names(whole)}, but not on {first_names(broken)}. "
            f"Save all of them as whole numbers, or set dataset_config.targets.{name}.kind to regression."
        )
    elif broken:
        warnings.append(
            f"labels {name!r} are not whole numbers and are taken for measured values (kind regression). If "
            "they are classes or objects, save them as whole numbers."
        )


def _outside_classes(
    dataset: Dataset, name: str, target: TargetConfig, scans: dict[str, LabelScan]
) -> list[str]:
    """Say where values are that no class was configured for."""
    if kind_without_facts(target) != "classes":
        return []
    owners: dict[int, list[str]] = {}
    for record, scan in scans.items():
        for value in scan.values:
            if value != target.unlabelled:
                owners.setdefault(value, []).append(record)
    if target.values is not None:
        file = target.labels or name
        sharing = [other for n, other in dataset.targets.items() if (other.labels or n) == file]
        claimed = {value for other in sharing for value in other.values or owners}
        outside = sorted(set(owners) - claimed)
        why = "is none of its values and counts as background"
    else:
        outside = sorted(owners)[target.out_channels :] if target.out_channels else []
        why = f"is beyond its {target.out_channels} classes"
    return [
        f"target {name!r}: the value {value}, on {first_names(owners[value])}, {why}."
        for value in outside[:MOST_LISTED]
    ]


def _wrong_values(record: str, name: str, target: TargetConfig, scan: LabelScan) -> list[str]:
    where = f"{record}: labels {name!r}"
    if target.kind == "regression":
        return []
    faults = []
    if scan.maximum > LARGEST_ID:
        faults.append(
            f"{where} hold the value {scan.maximum:.0f}; the largest allowed is {LARGEST_ID} (2^31 - 1). "
            "Number "
            "the objects anew, for example with skimage.segmentation.relabel_sequential."
        )
    negative = [v for v in scan.values if v < 0 and v != target.unlabelled and v not in (target.values or ())]
    if scan.minimum < -LARGEST_ID:
        faults.append(f"{where} hold the value {scan.minimum:.0f}; the smallest allowed is {-LARGEST_ID}.")
    elif negative:
        key = f"dataset_config.targets.{name}"
        faults.append(
            f"{where} hold the value {negative[0]}, which is neither background nor an object. If it means "
            f"unlabelled, set {key}.unlabelled to it; if it is a class, list it in {key}.values; if these "
            f"are measured values, set {key}.kind to regression."
        )
    if not scan.finite and (target.kind is not None or scan.integer):
        faults.append(
            f"{where} hold values that are not numbers (NaN or infinite). Replace them, for example by the "
            f"value that means unlabelled (dataset_config.targets.{name}.unlabelled)."
        )
    if target.kind is not None and not scan.integer:
        faults.append(
            f"{where} are not whole numbers, which kind {target.kind} needs. Round them, or set the kind to "
            "regression."
        )
    if target.kind is not None and scan.channels > 1:
        faults.append(
            f"{where} have {scan.channels} channels, but kind {target.kind} needs one number a voxel. Save "
            "labels "
            "as numbers, not as colours, or set the kind to regression."
        )
    return faults


def _check_amount(
    name: str, target: TargetConfig, scans: dict[str, LabelScan], errors: list[str], warnings: list[str]
) -> None:
    if not any(scan.labelled for scan in scans.values()):
        why = "the mask leaves none over" if target.unlabelled is None else f"all are {target.unlabelled}"
        errors.append(
            f"target {name!r}: no voxel is labelled ({why}, which means unlabelled). Paint labels, or check "
            "the "
            "target's unlabelled value and mask."
        )
        return
    empty = [record for record, scan in scans.items() if not scan.labelled]
    if empty:
        warnings.append(f"target {name!r}: no voxel is labelled on {first_names(empty)}.")
    if target.kind == "regression":
        return
    if target.values is not None:
        seen = {value for scan in scans.values() for value in scan.values}
        missing = [value for value in target.values if value not in seen]
        if missing and all(len(scan.values) < 256 for scan in scans.values()):
            listed = ", ".join(map(str, missing))
            warnings.append(f"target {name!r}: the value {listed} of its values is nowhere in the labels.")
    if target.unlabelled == 0:
        return
    if not any(scan.foreground for scan in scans.values()):
        errors.append(
            f"target {name!r}: the labels hold background only. Paint foreground, or check the target's "
            "values."
        )
        return
    values = {value for scan in scans.values() for value in scan.values}
    if len(values - {target.unlabelled}) == 1:
        warnings.append(
            f"target {name!r}: every labelled voxel is foreground, so that there is nothing to tell it from. "
            "Paint background too."
        )
    bare = [record for record, scan in scans.items() if scan.labelled and not scan.foreground]
    if bare:
        warnings.append(f"target {name!r}: empty labels (background only) on {first_names(bare)}.")
