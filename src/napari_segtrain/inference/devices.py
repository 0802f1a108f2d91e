"""Where to predict."""

from __future__ import annotations

import torch

from napari_segtrain.config import ConfigError


def choose_device(name: str) -> tuple[torch.device, str | None]:
    """Return the device that a name means, and a sentence when another one is taken instead.

    Parameters
    ----------
    name
        auto (the first GPU, else the processor), cpu, mps, gpu, gpu:1, cuda, cuda:1.

    Raises
    ------
    ConfigError
        When the name means nothing.
    """
    wanted = name.strip().lower().replace("gpu", "cuda")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu"), None
    kind, _, number = wanted.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise ConfigError(f"device {name!r} is unknown. Allowed: auto, cpu, gpu, gpu:0, gpu:1, …, cuda, mps.")
    if kind == "cuda" and (not cuda or int(number or 0) >= torch.cuda.device_count()):
        return torch.device("cpu"), f"There is no GPU {name!r} here; the processor predicts instead."
    if kind == "mps" and not mps:
        return torch.device("cpu"), "There is no Apple GPU here; the processor predicts instead."
    return torch.device(wanted), None
