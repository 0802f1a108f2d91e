"""Steps through a training as somebody asks, until they have had enough."""

from __future__ import annotations

from pathlib import Path

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import Control, Emit, ignore
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.training import take_apart

from ..reviewing import review
from ..run_data import DataSpec, open_data
from .session import StepSession


def step_through(
    config: ExperimentConfig,
    data: DataSpec,
    output: str | Path,
    *,
    emit: Emit = ignore,
    control: Control | None = None,
) -> None:
    """Define a network and answer the requests of `control` about its training, until a stop.

    Parameters
    ----------
    config
        The experiment.
    data
        Images and labels.
    output
        Folder for what can be looked at.
    emit
        Told `StepTaken` once when the network is defined, and once for every request.
    control
        Has the requests.

    Raises
    ------
    ConfigError, DataError, RunError
        When configuration, data or folder cannot work; a request that cannot be answered raises nothing.
    """
    control = control if control is not None else Control()
    dataset = open_data(data, config)
    reviewed = review(config, dataset)
    reviewed.checked()
    with take_apart(reviewed.config, dataset) as parts:
        session = StepSession(parts, Scratch(Path(output)), emit, lambda: control.halted)
        emit(session.defined())
        while (request := control.next_request()) is not None:
            emit(session.answer(request))
