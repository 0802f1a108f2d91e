"""Time that debug pictures take, as a share of the epochs they follow; wanted below 2 %.

    python benchmarks/debug_pictures.py [--epochs N]

Trains the two examples with many outputs, on data below $SEGTRAIN_DATA, and reads from the run's events how
long after an epoch its picture was there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from napari_segtrain import workflow
from napari_segtrain.config import load_config
from napari_segtrain.runs import DebugPicture, EpochDone, Event, RunStarted

EXAMPLES = {"all_losses2d": "chase_db1", "all_auxiliary3d": "fib25_em3d"}
HERE = Path(__file__).parent


def measure(example: str, data: Path, epochs: int) -> None:
    config = load_config(HERE.parent / "examples" / f"{example}.yaml")
    config = config.with_overrides({"tr_config.num_epochs": epochs, "tr_config.evaluate_after": "none"})
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        path = workflow.train(config, data, folder, emit=events.append).path
        size = max(file.stat().st_size for file in (path / "plots").iterdir())
    begin = next(event.time for event in events if isinstance(event, RunStarted))
    done = {event.epoch: event.time for event in events if isinstance(event, EpochDone)}
    drawn = {
        event.epoch: event.time - done[event.epoch] for event in events if isinstance(event, DebugPicture)
    }
    # The first picture also loads what draws; an epoch's checkpoint is not part of its time.
    later = [seconds for epoch, seconds in drawn.items() if epoch != min(drawn)]
    whole = max(done.values()) - begin
    print(
        f"{example}: {len(drawn)} pictures in {epochs} epochs of {whole / epochs:.1f} s, the first in "
        f"{1000 * drawn[min(drawn)]:.0f} ms, later ones in {1000 * sum(later) / max(len(later), 1):.0f} ms, "
        f"{size / 1e6:.1f} MB: {sum(drawn.values()) / whole:.1%} of the time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    root = os.environ.get("SEGTRAIN_DATA")
    if root is None:
        print("skipped: SEGTRAIN_DATA does not name the folder of the labelled data sets")
        return
    for example, data in EXAMPLES.items():
        measure(example, Path(root) / data, options.epochs)


if __name__ == "__main__":
    main()
