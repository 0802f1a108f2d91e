"""Everything that can be found wrong before anything is computed, in one list."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_segtrain.config import ConfigError, DataError, ExperimentConfig
from napari_segtrain.data import CheckReport, Dataset, Split, check_dataset, find_leakage
from napari_segtrain.runs import MEBIBYTE
from napari_segtrain.training import (
    ResolvedExperiment,
    complete_targets,
    planned_split,
    refuse_too_large,
    resolve,
)


@dataclass(frozen=True)
class Review:
    """What an experiment means for a data set, and what is wrong with either.

    Attributes
    ----------
    config
        The experiment; with the targets that were found in the data where it names none itself.
    report
        Faults of the data and of the experiment, and what is worth knowing.
    resolved
        What follows from both; None when a fault makes that impossible.
    leaks
        Those of the report's warnings that say how parts of the split are not separate.
    """

    config: ExperimentConfig
    report: CheckReport
    resolved: ResolvedExperiment | None
    leaks: tuple[str, ...] = ()

    def checked(self) -> ResolvedExperiment:
        """Return what follows from experiment and data.

        Raises
        ------
        DataError
            Lists every fault.
        OutOfMemoryError
            When one training step needs more memory than the machine has.
        """
        self.report.raise_for_errors()
        if self.resolved is None:
            raise DataError("the data is not usable; segtrain check says more")
        refuse_too_large(self.config, self.resolved)
        return self.resolved

    def warning(self, sentence: str) -> Review:
        """Return the same with something more that is worth knowing."""
        return replace(self, report=replace(self.report, warnings=(*self.report.warnings, sentence)))

    @property
    def disk_space(self) -> int:
        """Bytes that the checkpoints of a run take at most: numbered ones, the best, and the one written."""
        if self.resolved is None:
            return 0
        tr = self.config.tr_config
        # Weights, the two averages of an Adam, and the moving average of the weights, in 32 bits.
        one = 4 * self.resolved.parameters * (4 if tr.ema_decay else 3)
        return 64 * MEBIBYTE + one * (min(tr.keep_checkpoints, tr.num_epochs) + 2)


def review(
    config: ExperimentConfig, dataset: Dataset, origin: str = "", split: Split | None = None
) -> Review:
    """Look at data and experiment, and at one in the light of the other.

    Parameters
    ----------
    config
        The experiment.
    dataset
        As opened.
    origin
        Where the experiment is from, such as a file; it begins what is said of the experiment.
    split
        That of a run that goes on; None is the one that a new run would have.
    """
    report = check_dataset(dataset, config, origin)
    errors = list(report.errors)
    resolved = None
    if dataset.records and dataset.label_names:
        try:
            config = complete_targets(config, dataset)
            resolved = resolve(config, dataset)
        except ConfigError as error:
            errors += [f"{origin}: {fault}" if origin else fault for fault in error.faults]
        except DataError as error:
            errors += error.faults
    leaks: tuple[str, ...] = ()
    if resolved is not None and not errors:
        try:
            leaks = _leakage(config, dataset, resolved, split)
        except DataError as error:
            errors += error.faults
    errors = list(dict.fromkeys(errors))
    return Review(config, CheckReport(tuple(errors), (*report.warnings, *leaks)), resolved, leaks)


def _leakage(
    config: ExperimentConfig, dataset: Dataset, resolved: ResolvedExperiment, split: Split | None
) -> tuple[str, ...]:
    if split is None:
        if dataset.split_file is None and len(dataset.labelled_records()) == 1:
            # It is cut into blocks, which is work, and they are apart by the way in which it is done.
            return ()
        split = planned_split(config, dataset, resolved)
    return find_leakage(dataset, split)
