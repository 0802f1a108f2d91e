"""Lays out a raw nnU-Net data set (``imagesTr``, ``labelsTr``, ``dataset.json``) as a folder to train on.

    python examples/from_nnunet.py nnUNet_raw/Dataset001_Cells cells
    segtrain train -i cells -o project --config-path cells/experiment.yaml

Reads TIFF and PNG. Copies are written; nothing is changed in the data set.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from skimage.io import imread

TARGET = "segmentation"
"""Every case has one label file: images/<case>.tif and labels/<case>_segmentation.tif."""


def main(source: Path, folder: Path) -> None:
    """Write images, labels, split and experiment.

    Parameters
    ----------
    source
        The folder that ``dataset.json`` lies in.
    folder
        Is made, and must not exist: nothing is overwritten.
    """
    about = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    ending = about["file_ending"]
    if ending not in (".tif", ".tiff", ".png"):
        sys.exit(f"{source}: {ending} files are not read here; convert them to .tif first")
    cases = sorted(file.name.removesuffix(ending) for file in (source / "labelsTr").glob(f"*{ending}"))
    if not cases:
        sys.exit(f"{source}: no {ending} file is in labelsTr")
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    channels, files, spacing = len(about["channel_names"]), [], None
    for case in cases:
        first = source / "imagesTr" / f"{case}_0000{ending}"
        files = [first.with_name(f"{case}_{channel:04d}{ending}") for channel in range(channels)]
        if not all(file.exists() for file in files):  # the channels of a colour picture share one file
            files = [first]
        image = [imread(file) for file in files]
        stacked = image[0] if len(files) == 1 else np.stack(image)
        tifffile.imwrite(folder / "images" / f"{case}.tif", stacked, compression="zlib")
        labels = imread(source / "labelsTr" / f"{case}{ending}")
        tifffile.imwrite(folder / "labels" / f"{case}_{TARGET}.tif", labels, compression="zlib")
        beside = first.with_suffix(".json")  # nnU-Net's way to give a TIFF its voxel size
        spacing = json.loads(beside.read_text())["spacing"] if beside.exists() else spacing
    experiment = {"dataset_config": dataset_config(about["labels"], several=len(files) > 1, spacing=spacing)}
    text = yaml.safe_dump(experiment, sort_keys=False)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")


def dataset_config(labels: dict[str, Any], *, several: bool, spacing: list[float] | None) -> dict[str, Any]:
    """Return the section ``dataset_config`` for the labels of a ``dataset.json``.

    Parameters
    ----------
    labels
        Value by name; a list of values is a region, which may overlap others.
    several
        Whether the images have a channel axis, the first one.
    spacing
        Size of a voxel in array order, None where the data set does not say it.
    """
    ignored = {"unlabelled": labels["ignore"]} if "ignore" in labels else {}
    found = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    if any(isinstance(value, list) for value in found.values()):
        targets = {
            name: {
                "kind": "binary",
                "labels": TARGET,
                "values": list(np.atleast_1d(value).tolist()),
                **ignored,
            }
            for name, value in found.items()
        }
    elif len(found) == 1:
        targets = {TARGET: {"kind": "binary", "values": list(found.values()), **ignored}}
    else:
        targets = {TARGET: {"kind": "classes", "values": [0, *sorted(found.values())], **ignored}}
    config: dict[str, Any] = {"targets": targets}
    if several:
        config["channel_axis"] = 0
    if spacing is not None:
        config["spacing"] = spacing
    return config


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
