"""A process that trains with others, and runs out of memory now and then while they do not."""

import sys
from typing import Any

import torch

from napari_segtrain.network import MultiTaskUNet
from napari_segtrain.workflow import follower

real = MultiTaskUNet.forward
calls = {True: 0, False: 0}


def forward(self: MultiTaskUNet, x: torch.Tensor) -> Any:
    """Fail in the middle of the second backward pass and in the second validation; or always."""
    outputs = real(self, x)
    if x.is_meta:
        return outputs
    calls[self.training] += 1
    if sys.argv[1] == "always" or (not self.training and calls[False] == 2):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    if self.training and calls[True] == 2:

        def fail(gradient: torch.Tensor) -> None:
            hook.remove()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

        hook = next(self.encoder.parameters()).register_hook(fail)
    return outputs


if __name__ == "__main__":
    MultiTaskUNet.forward = forward
    follower.main()
