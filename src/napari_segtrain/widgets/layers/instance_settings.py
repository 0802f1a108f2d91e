"""How the objects of a layer were separated, as its metadata says."""

from __future__ import annotations

from typing import Any

from ...config import InferenceConfig
from .layer_kind import layer_kind
from .results import OURS

KEYS = ("threshold", "seed_threshold", "seed_distance", "min_size")
"""Keys of `inference_config` that decide it."""
SEED_KEYS = ("seed_threshold", "seed_distance")
"""Those of no meaning where objects are connected parts, without seeds."""


def has_parts(layer: Any) -> bool:
    """Return whether a layer holds objects that can be separated again."""
    return layer_kind(layer) == "Labels" and "parts" in layer.metadata.get(OURS, {})


def settings_of(layer: Any) -> InferenceConfig:
    """Return how the objects of a layer were separated last."""
    live = layer.metadata[OURS].get("live")
    return live if isinstance(live, InferenceConfig) else first_settings_of(layer)


def first_settings_of(layer: Any) -> InferenceConfig:
    """Return how the objects of a layer were separated when they were predicted."""
    said = layer.metadata[OURS].get("settings", {}).get("inference_config", {})
    return InferenceConfig.model_validate({name: said[name] for name in KEYS if name in said})
