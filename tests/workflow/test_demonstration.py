import numpy as np
import pytest
import tifffile
from skimage.io import imread

from napari_segtrain import workflow
from napari_segtrain.data.samples import coins
from napari_segtrain.workflow.demonstration import write_sample


def test_the_sample_is_written_as_a_data_folder(tmp_path):
    sample = coins()
    folder = write_sample(sample, tmp_path / "data")
    np.testing.assert_array_equal(tifffile.imread(folder / "images" / "coins.tif"), sample.image)
    painted = tifffile.imread(folder / "labels" / "coins_foreground.tif")
    np.testing.assert_array_equal(painted, sample.labels["foreground"])


@pytest.mark.slow
def test_the_demo_finds_the_coins(tmp_path):
    result = workflow.demo(tmp_path / "demo")
    assert result.dice > 0.93
    assert result.found >= 20
    assert result.coins == 24
    assert imread(result.overlay).shape == (303, 768, 3)
    instances = tifffile.imread(result.run / "predictions" / "instances.tif")
    assert instances.shape == (303, 384)
    assert result.found <= instances.max()
