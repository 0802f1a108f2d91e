"""Asks the training doctor about an experiment and its data, before anything is trained."""

from __future__ import annotations

from napari_segtrain.config import ConfigError, DataError, ExperimentConfig
from napari_segtrain.data import Dataset
from napari_segtrain.runs import Diagnosed, Finding
from napari_segtrain.training import OutOfMemoryError
from napari_segtrain.training.doctor import case_of, examine, memory_estimate

from .reviewing import Review, review
from .run_data import DataSpec, open_data

_ORDER = ("fault", "warning", "note")


def diagnose(config: ExperimentConfig, data: DataSpec, origin: str = "") -> Diagnosed:
    """Return everything that speaks against training, or is worth knowing, the worst first.

    Parameters
    ----------
    config
        The experiment.
    data
        Where images and labels are.
    origin
        Where the experiment is from, such as a file; it begins what is said to be wrong with it.

    Raises
    ------
    ConfigError, DataError
        When the data cannot be opened at all.
    """
    dataset = open_data(data, config)
    reviewed = review(config, dataset, origin)
    report, resolved = reviewed.report, reviewed.resolved
    found = [_checked("fault", sentence) for sentence in report.errors]
    # What leaks has a rule of its own.
    found += [_checked("warning", s) for s in report.warnings if s not in reviewed.leaks]
    if resolved is not None and report.ok:
        by_rules = findings_of(reviewed, dataset, tried=True)
        said = {finding.sentence for finding in by_rules}
        found += [_checked("note", sentence) for sentence in resolved.messages if sentence not in said]
        found += by_rules
    return Diagnosed(findings=tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity))))


def findings_of(reviewed: Review, dataset: Dataset, *, tried: bool = False) -> tuple[Finding, ...]:
    """Return what the rules find in an experiment that can be trained.

    Parameters
    ----------
    reviewed, dataset
        What was looked at.
    tried
        Take a training step where an estimate leaves it open whether it fits.
    """
    if reviewed.resolved is None:
        return ()
    too_large = None
    try:
        reviewed.checked()
    except OutOfMemoryError as error:
        too_large = error
    except (ConfigError, DataError):
        return ()
    # What is more than there is in all needs no trial.
    tried = tried and too_large is None
    case = case_of(reviewed.config, reviewed.resolved, dataset, reviewed.leaks, tried=tried)
    found = tuple(_that_helps(finding, reviewed.config) for finding in examine(case))
    if too_large is None:
        told = any(finding.rule == "memory" for finding in found)
        return found if told else (*found, memory_estimate(case))
    remedy = {}
    if too_large.fitting is not None:
        remedy = {
            "tr_config.patch_size": list(too_large.fitting.patch_size),
            "tr_config.batch_size": too_large.fitting.batch_size,
        }
    fault = Finding(rule="memory", severity="fault", sentence=str(too_large), remedy=remedy)
    return (*(finding for finding in found if finding.rule != "memory"), fault)


def _that_helps(finding: Finding, config: ExperimentConfig) -> Finding:
    """Leave out a remedy that this experiment does not take."""
    try:
        finding.cured(config)
    except ConfigError:
        return finding.replace(remedy={})
    return finding


def _checked(severity: str, sentence: str) -> Finding:
    return Finding.model_validate({"rule": "check", "severity": severity, "sentence": sentence})
