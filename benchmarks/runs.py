"""What runs cost around the training itself: bookkeeping, followers, tables, resuming.

    SEGTRAIN_DATA=… python benchmarks/runs.py [--steps N] [--epochs N]

Bookkeeping is the time spent on checkpoints, rows, events, logs, curves and debug pictures in a training of
examples/nuclei2d.yaml on dsb2018_fluo, as a share of the whole (limit 3 %). A follower is asked how long
after it happened it sees an event (limit 1 s). `segtrain runs` lists 500 runs (limit 1 s, with the start of
the program). A resumed run is compared with a fresh one: from the start of the program to the first step of
the optimizer (limit 3 s more).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[1] / "examples" / "nuclei2d.yaml"
# An epoch of the example is a pass over its patches; few shorter ones would count the epoch's end too often.
SMALL = {"tr_config.max_time": None, "tr_config.val_steps": 10}


class Clock:
    """Adds up the time that functions take; what one calls of another counts once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = threading.local()

    def wrap(self, owner: type, method: str) -> None:
        plain = getattr(owner, method)
        name = owner.__name__

        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "busy", False):
                return plain(*args, **kwargs)
            self._inside.busy = True
            start = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                self._inside.busy = False
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

        setattr(owner, method, timed)


def bookkeeping(data: Path, steps: int, epochs: int) -> None:
    """Print the share of each callback that writes something, and of all."""
    from napari_segtrain import workflow
    from napari_segtrain.config import load_config
    from napari_segtrain.runs import RunFolder
    from napari_segtrain.training.callbacks import Announcer, CheckpointCallback, DebugPictures, RowWriter
    from napari_segtrain.training.callbacks import TensorBoardCallback as Curves

    clock = Clock()
    for owner in (Announcer, CheckpointCallback, DebugPictures, RowWriter, Curves):
        for method in [name for name in vars(owner) if name.startswith("on_") or name == "teardown"]:
            clock.wrap(owner, method)
    overrides = {
        **SMALL,
        "tr_config.num_epochs": epochs,
        "tr_config.steps_per_epoch": steps,
        "tr_config.evaluate_after": "none",
    }
    config = load_config(EXAMPLE).with_overrides(overrides)
    with tempfile.TemporaryDirectory() as project:
        whole = RunFolder.open(workflow.train(config, data, project).path).read_info().seconds
    total = sum(clock.seconds.values())
    parts = ", ".join(f"{name} {1000 * t:.0f} ms" for name, t in clock.seconds.items())
    print(
        f"bookkeeping of {epochs} × {steps} steps: {100 * total / whole:.2f} % of {whole:.0f} s (limit 3 %)"
    )
    print(f"  {parts}")


def follower() -> None:
    """Print how late a follower sees events."""
    from napari_segtrain.runs import Progress, ProjectLock, RunFolder, RunState, follow_run

    late: list[float] = []
    with tempfile.TemporaryDirectory() as project, ProjectLock(project).acquire("run"):
        run = RunFolder.create(project, "run")
        run.set_state(RunState.RUNNING)

        def act() -> None:
            with run.open_events() as write:
                for number in range(40):
                    time.sleep(0.07)
                    write(Progress(fraction=number / 40))
            run.finish(RunState.COMPLETED, "all_epochs")

        thread = threading.Thread(target=act)
        thread.start()
        for event in follow_run(run):
            late.append(time.time() - event.time)
        thread.join()
    mean = sum(late) / len(late)
    print(f"follower: sees an event after {max(late):.2f} s at most, {mean:.2f} s on average (limit 1 s)")


def table(count: int) -> None:
    """Print how long `segtrain runs` takes."""
    from napari_segtrain.runs import RunFolder, RunState

    with tempfile.TemporaryDirectory() as project:
        for number in range(count):
            run = RunFolder.create(project, f"run{number}")
            run.set_state(RunState.RUNNING)
            run.set_state(RunState.COMPLETED, reason="all_epochs")
        command = [sys.executable, "-m", "napari_segtrain", "runs", project]
        times = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
    print(f"segtrain runs, {count} runs: {min(times):.2f} s (limit 1 s)")


def resuming(data: Path) -> None:
    """Print the time to the first step of a fresh and of a resumed run."""
    from napari_segtrain.runs import BatchDone, read_events

    settings = [f"{key}={'null' if value is None else value}" for key, value in SMALL.items()]
    sets = [part for text in (*settings, "tr_config.evaluate_after=none") for part in ("--set", text)]
    train = [sys.executable, "-m", "napari_segtrain", "train"]
    with tempfile.TemporaryDirectory() as project:
        fresh = [*train, "-i", str(data), "-o", project, "--config-path", str(EXAMPLE), "--run-name", "run"]
        fresh += ["--num-epochs", "2", "--steps-per-epoch", "2", "--stop-after", "1", *sets]
        run = Path(project) / "runs" / "run"
        seconds = []
        # The first training of a data set also makes the patch index: it is not what is compared.
        for command in (fresh, [*train, "--resume", str(run)]):
            start = time.time()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            steps = [
                e for e in read_events(run / "events.jsonl") if isinstance(e, BatchDone) and e.time > start
            ]
            seconds.append(steps[0].time - start)
    first, again = seconds
    print(f"first step: fresh {first:.1f} s, resumed {again:.1f} s, {again - first:+.1f} s (limit +3 s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=500)
    options = parser.parse_args()
    follower()
    table(options.runs)
    data = os.environ.get("SEGTRAIN_DATA")
    if not data:
        print(
            "bookkeeping, resuming: skipped, SEGTRAIN_DATA does not name the folder of the labelled data sets"
        )
        return
    folder = Path(data) / "dsb2018_fluo"
    resuming(folder)
    bookkeeping(folder, options.steps, options.epochs)


if __name__ == "__main__":
    main()
