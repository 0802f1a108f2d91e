"""What the example experiments reach on their labelled data, against thresholding and against the goal.

    SEGTRAIN_DATA=… python benchmarks/accuracy.py                 # as the examples say: over an hour
    SEGTRAIN_DATA=… python benchmarks/accuracy.py --minutes 2     # a short look
    SEGTRAIN_DATA=… python benchmarks/accuracy.py nuclei2d

Trains each example with its own time limit (or the one given), scores the test part, and prints every
score with its ratio to the goal.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
# example: data set, target, {score: (baseline of a threshold, goal)}
CASES = {
    "nuclei2d": ("dsb2018_fluo", "nuclei", {"dice": (0.889, 0.93), "ap50": (0.572, 0.78)}),
    "membrane3d": ("fib25_em3d", "boundary", {"dice": (0.44, 0.70)}),
    "vessels2d": ("chase_db1", "vessel", {"dice": (0.589, 0.74)}),
}


def main():
    from napari_segtrain import workflow
    from napari_segtrain.config import load_config

    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(CASES))
    parser.add_argument("--minutes", type=float)
    options = parser.parse_args()
    data = os.environ.get("SEGTRAIN_DATA")
    if not data:
        print("skipped: SEGTRAIN_DATA does not name the folder of the labelled data sets")
        sys.exit(0)
    print(f"{'example':12}{'score':>6}{'threshold':>11}{'goal':>7}{'reached':>9}{'of goal':>9}{'minutes':>9}")
    for name in options.names:
        folder, target, goals = CASES[name]
        # The scores are asked for below, and are no part of the training's time.
        config = load_config(EXAMPLES / f"{name}.yaml").with_overrides({"tr_config.evaluate_after": "none"})
        if options.minutes is not None:
            config = config.with_overrides({"tr_config.max_time": options.minutes})
        with tempfile.TemporaryDirectory() as project:
            start = time.perf_counter()
            run = workflow.train(config, Path(data) / folder, project).path
            minutes = (time.perf_counter() - start) / 60
            scores = workflow.evaluate(run, "test").scores[target]
        for score, (baseline, goal) in goals.items():
            reached = scores[score]
            figures = f"{baseline:11.3f}{goal:7.2f}{reached:9.3f}{reached / goal:9.2f}{minutes:9.1f}"
            print(f"{name:12}{score:>6}{figures}", flush=True)


if __name__ == "__main__":
    main()
