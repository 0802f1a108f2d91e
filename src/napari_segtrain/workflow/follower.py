"""A process that trains with others: ``python -m napari_segtrain.workflow.follower``, started by a `Crew`."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import torch
import torch.distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from napari_segtrain.config import ExperimentConfig, RunError
from napari_segtrain.data import Dataset, open_dataset
from napari_segtrain.runs import RunFolder
from napari_segtrain.training import Experiment, FitResult, Team, connect
from napari_segtrain.training.team import PATIENCE

from .crew import TEAM, failure_told, ready


def follow(team: Team, data: Any = None, store: Any = None) -> tuple[RunFolder, FitResult]:
    """Train with the others what the leader hands out.

    Parameters
    ----------
    team
        The processes, which are connected.
    data
        The data, as `open_dataset` takes it or open already; None: where the leader has it.
    store
        Where failures are told.

    Raises
    ------
    RunError
        When the leader gave up before it had something to train.
    """
    ticket = team.follow(None)
    if ticket is None:
        raise RunError("the first process gave up before the training began; its message says why")
    with failure_told(team, store):
        config = ExperimentConfig.parse(ticket["shared"]["config"])
        data = ticket["data"] if data is None else data
        dataset = data if isinstance(data, Dataset) else open_dataset(data, config.dataset_config)
        experiment = Experiment.join(ticket["shared"], dataset, team)
        return experiment.run, experiment.fit(stop_after=ticket["stop_after"])


def main() -> None:
    """Join those who are named in the environment, train, and end with them."""
    # Whoever asks the leader to stop stops all of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    place = json.loads(os.environ.pop(TEAM))
    parent = place.pop("parent")
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    device = torch.device(place.pop("device"))
    host, port = place.pop("host"), place.pop("port")
    team = Team(**place)
    store = TCPStore(host, port, is_master=False, timeout=PATIENCE)
    ready(team, store)
    connect(team, device, store)
    follow(team, store=store)
    torch.distributed.destroy_process_group()


def _end_with(parent: int) -> None:
    """End when the process that started this one has."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
