import pytest
import tifffile
import yaml

from napari_segtrain.cli.preview_commands import bounds
from napari_segtrain.config import ConfigError


def test_targets_are_written_and_listed(run, disc_folder, tmp_path):
    file = tmp_path / "e.yaml"
    tasks = {
        "normals": {"type": "surface_normals", "source_target": "cells"},
        "distance": {"type": "distance_transform", "source_target": "cells"},
    }
    file.write_text(yaml.safe_dump({"tr_config": {"patch_size": [32, 32]}, "auxiliary_tasks": tasks}))
    arguments = ("preview-targets", "-i", disc_folder(), "-o", tmp_path / "out", "--config-path", file)
    code, out, _ = run(*arguments)
    assert code == 0
    for word in ("normals", "surface normals", "distance", "loss looks at", "_overview.png"):
        assert word in out
    code, out, _ = run(*arguments, "--image", "im1", "--region", "0:40,8:60")
    assert code == 0
    assert "im1 at [0:40, 8:60]" in out
    assert tifffile.imread(tmp_path / "out" / "im1_normals.tif").shape == (2, 40, 52)


@pytest.mark.parametrize("text", ["0:8,1", "0-8,0-8", "a:b,0:1", "-1:4,0:4"])
def test_a_region_that_cannot_be_read_is_refused(text):
    with pytest.raises(ConfigError, match="give start:stop"):
        bounds(text)


def test_a_fault_ends_with_code_2(run, disc_folder, tmp_path):
    code, _, err = run("preview-targets", "-i", disc_folder(), "-o", tmp_path, "--image", "imm")
    assert code == 2
    assert "Did you mean" in err


def test_augmented_patches_are_written_and_said_in_words(run, disc_folder, tmp_path):
    file = tmp_path / "e.yaml"
    augmentation = {"noise": 1.0, "rotate": 1.0, "shear": 1.0}
    experiment = {"tr_config": {"patch_size": [32, 32]}, "dataset_config": {"augmentation": augmentation}}
    file.write_text(yaml.safe_dump(experiment))
    arguments = ("preview-augmentation", "-i", disc_folder(), "-o", tmp_path / "out", "--config-path", file)
    code, out, _ = run(*arguments, "--number", "3", "--seed", "4", "--image", "im1")
    assert code == 0
    for word in ("original", "augmented3", "shear", "noise", "im1 at [", "_augmentation.png", "12 TIFF"):
        assert word in out
    assert len(list((tmp_path / "out").iterdir())) == 13
    code, _, err = run(*arguments, "--number", "0")
    assert code == 2
    assert "1 to 64" in err
