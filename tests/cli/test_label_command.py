import csv

import tifffile
import yaml


def test_regions_are_listed_and_written(run, settings, disc_folder, tmp_path):
    folder = disc_folder(count=2)
    for path in (folder / "labels").iterdir():
        labels = tifffile.imread(path) + 1
        labels[:, 36:] = 0
        tifffile.imwrite(path, labels)
    file = tmp_path / "e.yaml"
    targets = {"cells": {"kind": "binary", "unlabelled": 0}}
    file.write_text(yaml.safe_dump({**settings, "dataset_config": {"targets": targets}}))
    code, _, err = run("train", "-i", folder, "-o", tmp_path / "P", "--config-path", file, "--run-name", "r")
    assert code == 0, err
    trained, table = tmp_path / "P" / "runs" / "r", tmp_path / "out" / "next.csv"
    code, out, _ = run("label-next", trained, "-i", folder, "-n", "3", "--size", "16,16", "-o", table)
    assert code == 0
    lines = [line for line in out.splitlines() if line.strip()]
    assert lines[0].split() == ["rank", "score", "image", "target", "region", "why"]
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    for row, line in zip(rows, lines[1:], strict=False):
        start, stop = ([int(n) for n in row[side].split()] for side in ("start", "stop"))
        assert [b - a for a, b in zip(start, stop, strict=True)] == [16, 16]
        assert stop[1] > 36
        assert f"{start[0]}:{stop[0]}, {start[1]}:{stop[1]}" in line
        assert row["reason"] in line
    assert run("label-next", trained, "--by", "chance")[0] == 2
    assert run("label-next", trained, "--checkpoint", "newest")[0] == 2
