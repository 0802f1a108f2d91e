"""The example that brings a data set of nnU-Net here, on data sets as small as they get."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segtrain.config import load_config
from napari_segtrain.data import check_dataset, open_dataset

SCRIPT = Path(__file__).parents[2] / "examples" / "from_nnunet.py"


@pytest.fixture
def convert():
    return runpy.run_path(str(SCRIPT))["main"]


def raw(folder, shape, labels, channels, spacing=None):
    """Write a raw data set of nnU-Net with two cases."""
    values = sorted({value for entry in labels.values() for value in np.atleast_1d(entry)})
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case in ("cell_1", "cell_2"):
        voxels = np.resize(np.repeat(values, 7), shape).astype(np.uint8)
        tifffile.imwrite(folder / "labelsTr" / f"{case}.tif", voxels)
        for channel in range(channels):
            name = folder / "imagesTr" / f"{case}_{channel:04d}"
            tifffile.imwrite(name.with_suffix(".tif"), voxels * 9 + channel)
            if spacing:
                name.with_suffix(".json").write_text(json.dumps({"spacing": spacing}))
    names = {str(channel): f"stain {channel}" for channel in range(channels)}
    about = {"channel_names": names, "labels": labels, "numTraining": 2, "file_ending": ".tif"}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize(
    ("shape", "labels", "channels", "spacing", "targets"),
    [
        (
            (48, 56),
            {"background": 0, "cell": 1, "rim": 2, "ignore": 3},
            2,
            None,
            {"segmentation": ("classes", (0, 1, 2), 3)},
        ),
        (
            (12, 32, 32),
            {"background": 0, "whole": [1, 2], "core": 2},
            1,
            [3.0, 0.5, 0.5],
            {"whole": ("binary", (1, 2), None), "core": ("binary", (2,), None)},
        ),
        ((48, 56), {"background": 0, "cell": 1}, 1, None, {"segmentation": ("binary", (1,), None)}),
    ],
    ids=["classes, two channels", "regions of a volume", "one class"],
)
def test_a_data_set_of_nnunet_can_be_trained_on(tmp_path, convert, shape, labels, channels, spacing, targets):
    convert(raw(tmp_path / "raw", shape, labels, channels, spacing), tmp_path / "cells")
    config = load_config(tmp_path / "cells" / "experiment.yaml")
    found = config.dataset_config.targets
    assert {name: (t.kind, t.values, t.unlabelled) for name, t in found.items()} == targets
    assert config.dataset_config.spacing == (None if spacing is None else tuple(spacing))
    dataset = open_dataset(tmp_path / "cells", config.dataset_config)
    assert sorted(dataset.records) == ["cell_1", "cell_2"]
    assert check_dataset(dataset, config).errors == ()
    source = dataset.records["cell_1"].image
    assert source.channels == channels


def test_other_files_are_refused_before_anything_is_written(tmp_path, convert):
    folder = raw(tmp_path / "raw", (8, 8), {"background": 0, "cell": 1}, 1)
    about = json.loads((folder / "dataset.json").read_text()) | {"file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit, match="convert them"):
        convert(folder, tmp_path / "cells")
    assert not (tmp_path / "cells").exists()
