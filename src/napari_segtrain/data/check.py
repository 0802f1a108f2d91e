"""Finds every fault of a data set before training starts, and says all of them at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..config import DataError, ExperimentConfig, TargetConfig, did_you_mean, wrong_axes
from ..config.auxiliary import task_faults
from .check_labels import check_labels
from .dataset import Dataset
from .facts import mixed_dimensions
from .naming import first_names
from .records import Record
from .scan import scan_image
from .split_file import read_split


@dataclass(frozen=True)
class CheckReport:
    """What is wrong with a data set, a sentence each.

    Attributes
    ----------
    errors
        What makes training impossible or wrong.
    warnings
        What is probably not meant, or is worth knowing.
    """

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def __str__(self) -> str:
        lines = [f"error: {text}" for text in self.errors]
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines) or "no faults"

    def raise_for_errors(self) -> None:
        """Raise one `DataError` that lists every error; do nothing when there is none.

        Raises
        ------
        DataError
            When there is an error.
        """
        if self.errors:
            raise DataError.listing(self.errors)


def check_dataset(dataset: Dataset, config: ExperimentConfig | None = None, origin: str = "") -> CheckReport:
    """Look at all images, labels and masks, and at the ``split.json``.

    Up to a limit everything is read; of larger data evenly spread blocks.

    Parameters
    ----------
    dataset
        As opened.
    config
        When given, patch size, channels and auxiliary tasks are compared with the data.
    origin
        Where `config` is from, such as a file; it begins what is said of it.

    Returns
    -------
    CheckReport
    """
    errors, warnings = list(dataset.faults), list(dataset.notes)
    records = list(dataset.records.values())
    if records:
        _check_targets(dataset, errors, warnings)
        _check_images(records, errors, warnings)
        check_labels(dataset, errors, warnings)
        errors += unlike(dataset)
        if dataset.split_file is not None:
            _check_split(dataset, errors, warnings)
        if config is not None:
            faults: list[str] = []
            _check_config(dataset, records, config, faults, warnings)
            errors += [f"{origin}: {fault}" if origin else fault for fault in faults]
    elif not errors:
        errors.append(f"{dataset.origin}: there is no image.")
    return CheckReport(tuple(dict.fromkeys(errors)), tuple(dict.fromkeys(warnings)))


def _check_targets(dataset: Dataset, errors: list[str], warnings: list[str]) -> None:
    labelled = dataset.labelled_records()
    if not dataset.label_names:
        errors.append(
            f"{dataset.origin}: no labels were found. Paint some and save them as labels/<image>_<target>."
        )
        errors.extend(dataset.notes)  # which may tell of labels under a wrong name
        return
    for name, target in dataset.targets.items():
        _check_masks(dataset, name, target, errors, warnings)
        if name == "image" or name.endswith("_mask"):
            errors.append(
                f"labels called {name!r} were found, but a target cannot have this name. Rename the files, "
                f"or configure a target that reads them (dataset_config.targets.<name>.labels: {name})."
            )
        if any(name in record.labels for record in labelled):
            bare = [record.id for record in labelled if name not in record.labels]
            if bare:
                warnings.append(
                    f"target {name!r} has no labels on {first_names(bare)}; it is not trained there."
                )
            continue
        wanted = target.labels or name
        if wanted in dataset.label_names:
            continue  # they are there and could not be opened, which is reported
        errors.append(
            f"target {name!r}: no labels called {wanted!r} were found. "
            + did_you_mean(wanted, dataset.label_names)
        )
    bare = [record.id for record in dataset.records.values() if not record.labels]
    if labelled and bare:
        warnings.append(f"without labels: {first_names(bare)}; not trained on.")


def _check_masks(
    dataset: Dataset, name: str, target: TargetConfig, errors: list[str], warnings: list[str]
) -> None:
    if target.mask is not None and target.mask not in dataset.mask_names:
        errors.append(
            f"target {name!r}: no masks called {target.mask!r} were found. "
            + (did_you_mean(target.mask, dataset.mask_names) if dataset.mask_names else "There are no masks.")
        )
        return
    labelled = [record for record in dataset.labelled_records() if name in record.labels]
    bare = [record.id for record in labelled if name not in record.masks]
    if len(bare) < len(labelled) and bare:
        warnings.append(
            f"target {name!r} has a mask on some images, but none on {first_names(bare)}: there its labels "
            "count everywhere."
        )


def _check_images(records: list[Record], errors: list[str], warnings: list[str]) -> None:
    for record in records:
        try:
            scan = scan_image(record.image, shares=len(records))
        except DataError as error:
            errors.append(str(error))
            continue
        if not scan.finite:
            errors.append(
                f"image {record.id!r} holds values that are not numbers (NaN, infinite, or too large for 32 "
                "bits). Replace them by a number, such as 0, and mask the place if it shall not be learned."
            )
            continue
        constant = [
            c for c, (low, high) in enumerate(zip(scan.minimum, scan.maximum, strict=True)) if low == high
        ]
        if len(constant) == record.image.channels:
            errors.append(
                f"image {record.id!r} is constant (every voxel is {scan.minimum[0]:g}), so that there is "
                "nothing "
                "to learn from. Take it out, or check the resolution level and the channel axis."
            )
        elif constant:
            listed = ", ".join(map(str, constant))
            warnings.append(f"image {record.id!r}: channel {listed} is constant.")


def unlike(dataset: Dataset) -> list[str]:
    """Say which images one network cannot learn from together: planes and volumes, other channels."""
    records, faults = list(dataset.records.values()), []
    if len({record.ndim for record in records}) > 1:
        faults.append(mixed_dimensions(dataset))
    counts = Counter(record.image.channels for record in records)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        other = next(record for record in records if record.image.channels != usual)
        faults.append(
            f"image {other.id!r} has {other.image.channels} channel(s), the others have {usual}. Give all "
            "images the same channels, or set dataset_config.channel_axis."
        )
    return faults


def _check_split(dataset: Dataset, errors: list[str], warnings: list[str]) -> None:
    split, faults = read_split(dataset, dataset.split_file or {})
    errors.extend(faults)
    for part in ("train", "val", "test"):
        ids = dict.fromkeys(region.record for region in split.part(part))
        bare = [i for i in ids if not dataset.records[i].labels]
        if bare:
            errors.append(
                f"{dataset.origin}/split.json: {part} names {first_names(bare)} without labels. Label them, "
                "or take them out of the split."
            )
    named = {region.record for part in (split.train, split.val, split.test) for region in part}
    unused = [record.id for record in dataset.labelled_records() if record.id not in named]
    if unused and not faults:
        warnings.append(f"{dataset.origin}/split.json: no part uses {first_names(unused)}.")


def _check_config(
    dataset: Dataset,
    records: list[Record],
    config: ExperimentConfig,
    errors: list[str],
    warnings: list[str],
) -> None:
    patch, ndim = config.tr_config.patch_size, records[0].ndim
    sizes = {"tr_config.patch_size": patch, "inference_config.tile_size": config.inference_config.tile_size}
    for key, size in sizes.items():
        fault = None if size is None else wrong_axes(key, size, ndim)
        if fault:
            errors.append(fault)
    if patch is not None and len(patch) == ndim:
        small = [
            r.id
            for r in records
            if r.ndim == ndim and any(p > n for p, n in zip(patch, r.shape, strict=True))
        ]
        if small:
            edges = ",".join(map(str, patch))
            warnings.append(f"smaller than the patch size {edges}, and padded to it: {first_names(small)}.")
    wanted, given = config.network.in_channels, records[0].image.channels
    if wanted is not None and wanted != given:
        errors.append(
            f"model_config.in_channels is {wanted}, but the images have {given} channel(s). Set "
            f"dataset_config.channel_axis, or leave in_channels empty."
        )
    if dataset.targets:
        errors.extend(task_faults(config.auxiliary_tasks, dataset.targets))
