"""The random state of a process: set from one seed, saved and restored."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Set the random state of Python, NumPy and torch (every device) from one number."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that use the global state must follow the seed too
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """Return every random state in plain types and tensors, as a checkpoint may hold them."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    states: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [
            int(numpy_state["state"]["pos"]),
            torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
        ],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set what `random_states` returned; devices that are not there now are passed over."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    position, words = states["numpy"]
    state: Any = ("MT19937", words.numpy().astype(np.uint32), position)
    np.random.set_state(state)  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"].cpu())


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Leave every random state as it was, whatever happens inside."""
    states = random_states()
    try:
        yield
    finally:
        restore_random_states(states)
