"""How long a list of 500 runs takes, and how late a follower sees an event: bounds are one second each.

Run by hand: ``python benchmarks/lifecycle.py``. Prints seconds and their share of the bound.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from napari_segtrain.runs import Best, EpochDone, ProjectLock, RunFolder, RunState, follow_run

RUNS, EVENTS = 500, 40
BOUND = 1.0


def make_runs(project: Path) -> None:
    scores = {f"val_{number}_dice": 0.5 for number in range(40)}
    for number in range(RUNS):
        run = RunFolder.create(project, f"run_{number}")
        run.set_state(RunState.RUNNING)
        best = Best(epoch=3, monitor="val_loss", value=0.25)
        run.update_info(epoch=50, num_epochs=50, best=best, final_metrics=scores)
        run.set_state(RunState.COMPLETED, reason="all_epochs")


def list_seconds(project: Path) -> float:
    """Return the time of the whole command, with the start of Python; the best of five."""
    command = [sys.executable, "-m", "napari_segtrain", "runs", str(project)]
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def delays(project: Path) -> list[float]:
    run = RunFolder.create(project, "followed")
    seen: list[float] = []

    def follow() -> None:
        for event in follow_run(run):
            if isinstance(event, EpochDone):
                seen.append(time.time() - event.time)

    follower = threading.Thread(target=follow)
    with ProjectLock(project).acquire(run.name), run.open_events() as write:
        write(run.set_state(RunState.RUNNING))
        follower.start()
        for epoch in range(1, EVENTS + 1):
            write(EpochDone(epoch=epoch, num_epochs=EVENTS, row={"val_loss": 0.5}))
            time.sleep(0.137)
        run.finish(RunState.COMPLETED, "all_epochs")
    follower.join()
    return seen


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder))
        listed = list_seconds(Path(folder))
        late = delays(Path(folder))
    print(f"segtrain runs on {RUNS} runs   {listed:.2f} s, {listed / BOUND:.2f} of the bound")
    print(
        f"a follower sees an event after {statistics.median(late):.3f} s, at most {max(late):.3f} s, ", end=""
    )
    print(f"{max(late) / BOUND:.2f} of the bound")


if __name__ == "__main__":
    main()
