"""Networks whose predictions are known without training, and images to feed them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_segtrain.config import InferenceConfig, LossConfig
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.inference import Predictor
from napari_segtrain.network import DecoderPlan, HeadPlan, NetworkPlan
from napari_segtrain.targets import Head

torch.set_num_threads(1)


def make_head(name: str, encoding: str = "regression", channels: int = 1, **changes: Any) -> Head:
    activation = {
        "classes": "softmax",
        "binary": "sigmoid",
        "boundary": "sigmoid",
        "centre_distance": "sigmoid",
    }
    values: dict[str, Any] = {
        "target": name,
        "decoder": name,
        "activation": activation.get(encoding, "none"),
        "losses": (LossConfig(name="MaskedMSELoss"),),
        **changes,
    }
    return Head(name=name, encoding=encoding, out_channels=channels, **values)  # type: ignore[arg-type]


def make_plan(ndim: int, heads: Sequence[Head], patch: int = 16, channels: int = 1) -> NetworkPlan:
    return NetworkPlan(
        ndim=ndim,
        in_channels=channels,
        patch_size=(patch,) * ndim,
        spacing=(1.0,) * ndim,
        features=(4, 8),
        blocks_per_stage=(1, 1),
        kernel_sizes=((3,) * ndim,) * 2,
        strides=((1,) * ndim, (2,) * ndim),
        decoders=tuple(
            DecoderPlan(name=h.decoder, heads=(HeadPlan(name=h.name, out_channels=h.out_channels),))
            for h in heads
            if h.name == h.decoder
        ),
    )


class Fixed(nn.Module):
    """Outputs are given functions of the input; counts the tiles it has seen."""

    def __init__(self, outputs: dict[str, Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.outputs = outputs
        self.tiles = 0
        self.fail_after: int | None = None

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.tiles += len(x)
        if self.fail_after is not None and self.tiles > self.fail_after:
            raise KeyboardInterrupt
        return {name: function(x) for name, function in self.outputs.items()}


@pytest.fixture
def predictor_of() -> Callable[..., Predictor]:
    def build(
        outputs: dict[str, Callable[[Tensor], Tensor]] | nn.Module,
        heads: Sequence[Head],
        *,
        ndim: int = 2,
        patch: int = 16,
        channels: int = 1,
        values: dict[str, tuple[int, ...]] | None = None,
        **inference: Any,
    ) -> Predictor:
        network = outputs if isinstance(outputs, nn.Module) else Fixed(outputs)
        return Predictor.from_network(
            network,
            make_plan(ndim, heads, patch, channels),
            heads,
            Normalisation(shift=(0.0,) * channels, scale=(1.0,) * channels),
            InferenceConfig(**{"skip_empty": False, **inference}),
            values=values,
        )

    return build


@pytest.fixture
def head() -> Callable[..., Head]:
    return make_head


@pytest.fixture
def plan_of() -> Callable[..., NetworkPlan]:
    return make_plan


@pytest.fixture
def fixed() -> type[Fixed]:
    return Fixed


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=shape).astype(np.float32)

    return make
