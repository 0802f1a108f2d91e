"""Raw network output → prediction."""

from __future__ import annotations

import torch

from .head import Head


def activate(head: Head, raw: torch.Tensor) -> torch.Tensor:
    """Turn a head's raw output into its prediction.

    Parameters
    ----------
    head
        Whose output it is.
    raw
        ``(B, C, *spatial)`` as the network returns it.

    Returns
    -------
    Tensor
        ``(B, C, *spatial)``: probabilities, or values in the target's own units (activation, then
        times `Head.scale`).
    """
    if head.activation == "sigmoid":
        raw = torch.sigmoid(raw)
    elif head.activation == "softmax":
        raw = torch.softmax(raw, dim=1)
    return raw * head.scale if head.scale != 1.0 else raw
