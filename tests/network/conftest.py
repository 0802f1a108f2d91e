from types import SimpleNamespace

import pytest

from napari_segtrain.config import NetworkConfig
from napari_segtrain.network import make_plan


def _head(name, channels=1, decoder=None):
    return SimpleNamespace(name=name, decoder=decoder or name, out_channels=channels)


@pytest.fixture
def head():
    return _head


@pytest.fixture
def small_plan():
    """Return a function that plans a small two-head network of a dimension."""

    def plan(ndim, heads=None, patch=16, in_channels=1, **overrides):
        settings = {"base_features": 4, "blocks_per_stage": None, **overrides}
        return make_plan(
            NetworkConfig(**settings),
            ndim=ndim,
            in_channels=in_channels,
            patch_size=(patch,) * ndim,
            spacing=(1.0,) * ndim,
            shape=(64,) * ndim,
            heads=heads or [_head("cells"), _head("normals", ndim)],
        )

    return plan
