"""Changes that a user took up while a run trained, or when it had failed: they are for going on with it."""

from __future__ import annotations

from pathlib import Path

from ...config import ConfigError, ExperimentConfig
from ...runs import Finding

_OF_A_NEW_RUN = frozenset({"tr_config.num_epochs"})
"""Settings whose change is for a run from its begin: one that goes on may be past fewer epochs."""


class Remedies:
    """Remembers, for each run, which findings were applied, until the run goes on with them.

    Only what is found in a training counts: what is found before it may ask for another network, with
    which no run can go on.
    """

    def __init__(self) -> None:
        self._run: Path | None = None
        self._found: list[Finding] = []
        self._applied: dict[Path, list[Finding]] = {}

    def begin(self, run: Path) -> None:
        """Take note that a run trains now: with what was applied, where it was resumed."""
        self._run, self._found = run.resolve(), []
        self._applied.pop(self._run, None)

    def leave(self) -> None:
        """Take note that something else is prepared: what is found before its run begins is of no run."""
        self._run, self._found = None, []

    def note(self, finding: Finding) -> None:
        """Take note of something that was found in the run that trains."""
        if self._run is not None and not _OF_A_NEW_RUN & finding.remedy.keys():
            self._found.append(finding)

    def apply(self, finding: Finding) -> str:
        """Remember that a finding was applied; return the name of the run it is for, empty for none."""
        if self._run is None or finding not in self._found:
            return ""
        self._applied.setdefault(self._run, []).append(finding)
        return self._run.name

    def cure(self, run: Path, config: ExperimentConfig) -> tuple[ExperimentConfig, str]:
        """Return the experiment of a run with what was applied, and that in words, to follow the run's name.

        A change that no longer fits the experiment is left out.
        """
        changed: dict[str, object] = {}
        for finding in self._applied.get(run.resolve(), ()):
            try:
                config = finding.cured(config)
            except ConfigError:
                continue
            changed |= finding.remedy
        values = ", ".join(f"{key} = {value}" for key, value in changed.items())
        return config, f", with {values} as applied" if changed else ""
