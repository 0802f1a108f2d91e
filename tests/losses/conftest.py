from dataclasses import dataclass
from typing import Any

import pytest
import torch

from napari_segtrain.config import LossConfig
from napari_segtrain.losses import ENCODINGS, LOSSES

torch.set_num_threads(1)


@dataclass
class FakeHead:
    """What the losses need of a head."""

    name: str = "t"
    target: str = "t"
    encoding: str = "binary"
    out_channels: int = 1
    activation: Any = "sigmoid"
    losses: tuple[LossConfig, ...] = (LossConfig(name="BCEDiceLoss"),)
    weight: float = 1.0
    ds_interpolation: Any = "nearest"
    scale: float = 1.0


@pytest.fixture
def make_head():
    return FakeHead


@pytest.fixture
def sample():
    """Random prediction, target and mask for every encoding a loss serves."""

    def make(encoding: str, ndim: int, *, batch=2, size=5, dtype=torch.float64, seed=0, channels=None):
        generator = torch.Generator().manual_seed(seed)
        space = (size,) * ndim

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=dtype)

        channels = channels or channels_of(None, encoding, ndim)
        prediction = normal(batch, channels, *space).requires_grad_()
        if encoding == "classes":
            target = torch.randint(0, channels, (batch, 1, *space), generator=generator)
        elif encoding in ("binary", "boundary"):
            target = (normal(batch, channels, *space) > 0.3).to(dtype)
        elif encoding == "centre_distance":
            target = torch.rand(batch, channels, *space, generator=generator, dtype=dtype)
        elif encoding in ("surface_normals", "inplane_direction", "flows"):
            target = torch.nn.functional.normalize(normal(batch, channels, *space), dim=1)
        else:
            target = normal(batch, channels, *space) * 3
        mask = torch.rand(batch, 1, *space, generator=generator) > 0.3
        return prediction, target, mask

    return make


def channels_of(name, encoding, ndim):
    """Channels of an output that a loss can serve."""
    known = ENCODINGS[encoding]
    wanted = known.channels(ndim) if known.channels else {"classes": 3, "regression": 2}.get(encoding, 1)
    fewest, most = LOSSES[name].channels(ndim) if name else (1, wanted)
    return min(max(wanted, fewest), most)


CASES = [(name, encoding) for name, spec in LOSSES.items() for encoding in spec.encodings]
SETTINGS = {
    "SignedDistanceLoss": {"rho": 3.0, "eikonal": True},
    "WeightedSmoothL1Loss": {"surface_weight": 1.5},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for `loss_case` for each loss and each encoding that it serves."""
    if "loss_case" in metafunc.fixturenames:
        metafunc.parametrize("loss_case", CASES, ids=["-".join(case) for case in CASES])


@pytest.fixture(name="channels_of")
def _channels_of():
    return channels_of


@pytest.fixture
def settings():
    return SETTINGS
