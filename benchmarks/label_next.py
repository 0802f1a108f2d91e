"""Whether labelling where the network doubts teaches it more than labelling anywhere, at equal area.

    SEGTRAIN_DATA=… python benchmarks/label_next.py             # about a quarter of an hour on one core
    SEGTRAIN_DATA=… python benchmarks/label_next.py --quick     # a few steps each: does it run?
    SEGTRAIN_DATA=… python benchmarks/label_next.py dsb2018_fluo --rounds 4 --steps 300 --by all unsure

Each seed begins with a few random squares (cubes) of the training part labelled, and all else unlabelled, and
trains for a while. Then every way of choosing goes on from the same weights: it has as many squares more
labelled, trains on, and so on, and at the end the last weights are scored on the test part, which is labelled
densely. "random" draws squares that do not overlap with labelled ones; the others are `segtrain label-next`,
by all reasons together or by one of them. Printed are the mean over the seeds and the standard deviation, and
those of the differences to random choice, paired by seed.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from trainings import EXAMPLES, arguments, data_folder, markdown, parsed, spread

RANDOM = "random"
# example, target, scores, edge of a patch, edge of a square, squares at first and more in each round
CASES = {
    "dsb2018_fluo": ("nuclei2d", "nuclei", ("dice", "ap50"), 96, 48, 8),
    "fib25_em3d": ("membrane3d", "boundary", ("dice", "precision", "recall"), 32, 24, 6),
}
EPOCH = 20
TRIES = 100_000
"""Random squares that are drawn until it is said that there is no room for more."""
PREDICTION = {"overlap": 0.25, "mirroring": False}


def experiment(case, seed, steps, features):
    from napari_segtrain.config import ExperimentConfig, load_config

    example, _, _, patch, _, _ = CASES[case]
    values = load_config(EXAMPLES / f"{example}.yaml").to_dict()
    values["tr_setup"]["seed"] = seed
    values["model_config"] |= {"base_features": features, "decoders": "shared"}
    epochs = max(1, steps // EPOCH)
    values["tr_config"] |= {
        "patch_size": [patch] * values["dataset_config"]["ndim"],
        "batch_size": 4 if values["dataset_config"]["ndim"] == 2 else 2,
        "max_time": None,
        "num_epochs": epochs,
        "steps_per_epoch": min(EPOCH, steps),
        "val_every": 10**6,
        "scheduler": {"name": "constant"},
        "keep_checkpoints": 0,
        "evaluate_after": "none",
    }
    return ExperimentConfig.parse(values, "benchmark")


class Labels:
    """A data folder of which the training part is labelled in squares only, by its loss masks."""

    def __init__(self, folder, case, source, small):
        self.folder, self.target, self.edge = folder, CASES[case][1], CASES[case][4]
        for kind in ("images", "labels", "masks"):
            (folder / kind).mkdir(parents=True)
        split = json.loads((source / "split.json").read_text())
        names = {part: [one["image"] for one in split[part]] for part in ("train", "test")}
        if case == "fib25_em3d":
            # A corner of the volume: predictions of all of it would be most of the time.
            names["train"], edge, depth = ["sample2"], 128, 64
            box = np.s_[:, :edge, :edge]
            split = {
                "train": [{"image": "sample2", "region": [[0, depth], [0, edge], [0, edge]]}],
                "test": [
                    {"image": "sample2", "region": [[210 if small else 200, 250], [0, edge], [0, edge]]}
                ],
            }
        else:
            box = np.s_[:, :]
            names = {part: found[: 2 if small else 10] for part, found in names.items()}
            split = {part: [{"image": name} for name in found] for part, found in names.items()}
        (folder / "split.json").write_text(json.dumps({"val": [], **split}))
        self.boxes = {}
        for name in sorted({*names["train"], *names["test"]}):
            image = tifffile.imread(source / "images" / f"{name}.tif")[box]
            labels = tifffile.imread(source / "labels" / f"{name}_{self.target}.tif")[box]
            mask = np.ones(labels.shape, np.uint8)
            if name in names["train"]:
                stop = [*labels.shape]
                if case == "fib25_em3d":
                    stop[0] = depth
                self.boxes[name] = tuple(slice(0, n) for n in stop)
                mask[self.boxes[name]] = 0
            tifffile.imwrite(folder / "images" / f"{name}.tif", image, photometric="minisblack")
            tifffile.imwrite(
                folder / "labels" / f"{name}_{self.target}.tif", labels, photometric="minisblack"
            )
            self._write(name, mask)

    def _mask(self, name):
        return self.folder / "masks" / f"{name}_{self.target}.tif"

    def _write(self, name, mask):
        tifffile.imwrite(self._mask(name), mask, photometric="minisblack")

    def add(self, regions):
        """Label regions; return how many voxels have labels now that had none."""
        new = 0
        for name, start, stop in regions:
            mask = tifffile.imread(self._mask(name))
            box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            new += int((mask[box] == 0).sum())
            mask[box] = 1
            self._write(name, mask)
        return new

    def draw(self, count, rng):
        """Return random squares without labels; the larger an image, the more."""
        names = list(self.boxes)
        sizes = np.array([np.prod([part.stop for part in self.boxes[name]]) for name in names], float)
        masks = {name: tifffile.imread(self._mask(name)) for name in names}
        found = []
        for _ in range(TRIES):
            if len(found) == count:
                return found
            name = names[rng.choice(len(names), p=sizes / sizes.sum())]
            start = [int(rng.integers(max(1, part.stop - self.edge + 1))) for part in self.boxes[name]]
            ends = zip(start, self.boxes[name], strict=True)
            stop = [min(a + self.edge, part.stop) for a, part in ends]
            box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            if not masks[name][box].any():
                masks[name][box] = 1
                found.append((name, start, stop))
        raise SystemExit(f"there is no room for {count} more squares without labels; take fewer rounds")


def choose(way, labels, count, run, rng):
    from napari_segtrain import workflow

    if way == RANDOM:
        return labels.draw(count, rng)
    size = (labels.edge,) * len(next(iter(labels.boxes.values())))
    found = workflow.label_next(run, labels.folder, number=count, size=size, by=way)
    return [(one.record, one.start, one.stop) for one in found.regions]


def compare(case, seed, options, source, work):
    """Train with every way of choosing; return its scores, and the voxels that got labels."""
    from napari_segtrain import workflow

    _, target, names, _, _, count = CASES[case]
    first = Labels(work / "first", case, source, options.quick)
    first.add(first.draw(count, np.random.default_rng(seed)))
    config = experiment(case, seed, options.steps, options.features)
    run = workflow.train(config, first.folder, work / "project").path
    epochs, found = config.tr_config.num_epochs, {}
    for way in ways(options):
        shutil.copytree(work / "first", work / way)
        shutil.copytree(work / "project", work / f"project-{way}")
        labels = Labels.__new__(Labels)
        labels.__dict__ |= {**first.__dict__, "folder": work / way}
        own = work / f"project-{way}" / "runs" / run.name
        rng, area = np.random.default_rng(1000 + seed), 0
        for number in range(1, options.rounds + 1):
            area += labels.add(choose(way, labels, count, own, rng))
            longer = {"tr_config.num_epochs": (number + 1) * epochs}
            workflow.resume(own, data=labels.folder, overrides=longer, changed_data=True)
        weights = own / "checkpoints" / "last.ckpt"
        scores = workflow.evaluate(weights, "test", data=labels.folder, overrides=PREDICTION).scores[target]
        found[way] = {name: scores[name] for name in names} | {"voxels": area}
    return found


def ways(options):
    return [RANDOM, *options.by]


def table(case, options, found):
    """Return the results as a Markdown table."""
    names = CASES[case][2]
    rows = [["chosen", *names, *(f"{name}, more than at random" for name in names[:2]), "labelled voxels"]]
    for way in ways(options):
        row = [way, *(spread([one[way][name] for one in found]) for name in names)]
        for name in names[:2]:
            gains = [one[way][name] - one[RANDOM][name] for one in found]
            row.append("" if way == RANDOM else spread(gains))
        rows.append([*row, f"{statistics.fmean(one[way]['voxels'] for one in found):.0f}"])
    return markdown(rows)


def parse():
    parser = arguments(__doc__, CASES)
    parser.add_argument("--by", nargs="+", choices=("all", "unsure", "outputs", "mirrors"), default=["all"])
    parser.add_argument("--rounds", type=int, default=1, help="how often squares are added")
    parser.add_argument("--steps", type=int, default=60, help="of training, at first and in each round")
    parser.add_argument("--features", type=int, default=8, help="of the network's first stage")
    return parsed(parser, CASES, seeds=1, rounds=1, steps=4, features=4)


def main():
    options = parse()
    data = data_folder(options)
    for case in options.cases:
        _, target, _, _, edge, count = CASES[case]
        print(
            f"\n{case}, {target}: {count} squares of {edge} at first and in {options.rounds} round(s), "
            f"{options.steps} steps a time, {options.features} features, {options.seeds} seed(s)\n",
            flush=True,
        )
        found = []
        for seed in range(options.seeds):
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as work:
                found.append(compare(case, seed, options, data / case, Path(work)))
            figures = "; ".join(
                f"{way} " + ", ".join(f"{name} {value:.4g}" for name, value in one.items())
                for way, one in found[-1].items()
            )
            seconds = time.perf_counter() - start
            print(f"  seed {seed}: {figures} ({seconds:.0f} s)", file=sys.stderr, flush=True)
        print(table(case, options, found), flush=True)


if __name__ == "__main__":
    main()
