"""Trains in a process of its own: goes on with runs that have a checkpoint, begins the others.

``resume_script.py DATA RUN [RUN …]``
"""

from __future__ import annotations

import sys

import torch

from napari_segtrain.data import open_dataset
from napari_segtrain.runs import LAST, RunFolder
from napari_segtrain.training import Experiment


def main(data: str, runs: list[str]) -> None:
    torch.set_num_threads(1)
    for path in runs:
        run = RunFolder.open(path)
        config = run.read_config()
        dataset = open_dataset(data, config.dataset_config)
        resume = (run.checkpoints / LAST).is_file()
        Experiment.prepare(config, dataset, run, resume=resume).fit(tensorboard=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
