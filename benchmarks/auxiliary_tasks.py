"""What each auxiliary task is worth: the same training with it and without, scored on the target alone.

    SEGTRAIN_DATA=… python benchmarks/auxiliary_tasks.py            # about an hour and a half on two cores
    SEGTRAIN_DATA=… python benchmarks/auxiliary_tasks.py --quick    # every task for a few steps: does it run?
    SEGTRAIN_DATA=… python benchmarks/auxiliary_tasks.py fib25_em3d --tasks distance normals --steps 1000

All trainings of a data set have the same budget of steps, and with the same seed the same first weights of
the encoder, the same patches and the same augmentation: only the heads differ. The network is that of the
example experiment with fewer features, all heads share one decoder, the last weights are scored on the test
part. Printed are the mean over the seeds and the standard deviation, and the same of the differences to the
training without a task, paired by seed. `--results` keeps each finished training in a file, so that a
benchmark that was ended goes on where it was.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from trainings import EXAMPLES, arguments, data_folder, markdown, parsed, spread

NONE = "none"
# data set: example, target, scores
CASES = {
    "fib25_em3d": ("membrane3d", "boundary", ("dice", "precision", "recall")),
    "dsb2018_fluo": ("nuclei2d", "nuclei", ("dice", "ap50", "map")),
}
# Lengths in spacings; the weights are those of the examples where they have the task.
TASKS = {
    "distance": {"type": "distance_transform", "loss_weight": 0.2, "clip": 8},
    "inside": {"type": "distance_transform", "distance_type": "inside", "loss_weight": 0.2, "clip": 8},
    "normals": {"type": "surface_normals", "loss_weight": 0.1, "band": 4},
    "tensor": {"type": "structure_tensor", "loss_weight": 0.1},
    "direction": {"type": "inplane_direction", "loss_weight": 0.1},
    "nearest": {"type": "nearest_component", "loss_weight": 0.1, "band": 8},
    "flows": {"type": "flows", "loss_weight": 0.1},
}
EPOCH = 20
PREDICTION = {"overlap": 0.25, "mirroring": False}


def experiment(case, task, seed, steps, features):
    """Return the example's settings with one task, or none, and the budget."""
    from napari_segtrain.config import ExperimentConfig, load_config

    example, target, _ = CASES[case]
    values = load_config(EXAMPLES / f"{example}.yaml").to_dict()
    spacing = (values["dataset_config"].get("spacing") or [1])[0]
    tasks = {}
    if task != NONE:
        settings = {
            key: value * spacing if key in ("clip", "band") else value for key, value in TASKS[task].items()
        }
        tasks[task] = {**settings, "source_target": target}
    values["auxiliary_tasks"] = tasks
    values["tr_setup"]["seed"] = seed
    values["model_config"] |= {"base_features": features, "decoders": "shared"}
    epochs = max(1, steps // EPOCH)
    values["tr_config"] |= {
        "max_time": None,
        "num_epochs": epochs,
        "steps_per_epoch": min(EPOCH, steps),
        "val_every": epochs,
        "val_steps": 2,
        "keep_checkpoints": 0,
        "evaluate_after": "none",
    }
    return ExperimentConfig.parse(values, "benchmark")


def score(case, task, seed, options, data):
    """Train once; return the scores of the last weights, and the seconds of the training."""
    from napari_segtrain import workflow

    _, target, names = CASES[case]
    config = experiment(case, task, seed, options.steps, options.features)
    with tempfile.TemporaryDirectory() as project:
        start = time.perf_counter()
        run = workflow.train(config, data / case, project).path
        seconds = time.perf_counter() - start
        weights = run / "checkpoints" / "last.ckpt"
        scores = workflow.evaluate(weights, "test", overrides=PREDICTION).scores[target]
    return {name: scores[name] for name in names} | {"seconds": seconds}


def table(case, tasks, seeds, found):
    """Return the results as a Markdown table."""
    names = CASES[case][2]
    rows = [["task", *names, *(f"{name}, more than without" for name in names[:2]), "time"]]
    without = [found[case, NONE, seed] for seed in seeds]
    for task in tasks:
        these = [found[case, task, seed] for seed in seeds]
        pairs = list(zip(these, without, strict=True))
        row = [task, *(spread([one[name] for one in these]) for name in names)]
        for name in names[:2]:
            row.append("" if task == NONE else spread([one[name] - other[name] for one, other in pairs]))
        row.append(f"{statistics.median(one['seconds'] / other['seconds'] for one, other in pairs):.2f} ×")
        rows.append(row)
    return markdown(rows)


def read(path, budget):
    """Return the trainings that a former benchmark of this budget finished."""
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row["case"], row["task"], row["seed"]): row["found"] for row in rows if row["budget"] == budget}


def parse():
    parser = arguments(__doc__, CASES)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--features", type=int, default=12, help="of the network's first stage")
    parser.add_argument("--results", type=Path, help="a file that keeps finished trainings")
    return parsed(parser, CASES, seeds=1, steps=4, features=6)


def main():
    options = parse()
    data = data_folder(options)
    budget, seeds = [options.steps, options.features], range(options.seeds)
    found = read(options.results, budget)
    for case in options.cases:
        target = CASES[case][1]
        tasks = [NONE, *(task for task in options.tasks if task != "flows" or target == "nuclei")]
        print(
            f"\n{case}, {target}: {options.steps} steps, {options.features} features, {len(seeds)} seed(s)\n"
        )
        for seed in seeds:
            for task in tasks:
                if (case, task, seed) in found:
                    continue
                found[case, task, seed] = result = score(case, task, seed, options, data)
                figures = ", ".join(
                    f"{name} {value:.3f}" for name, value in result.items() if name != "seconds"
                )
                print(
                    f"  {task}, seed {seed}: {figures} ({result['seconds']:.0f} s)",
                    file=sys.stderr,
                    flush=True,
                )
                if options.results is not None:
                    row = {"budget": budget, "case": case, "task": task, "seed": seed, "found": result}
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
        print(table(case, tasks, seeds, found), flush=True)


if __name__ == "__main__":
    main()
