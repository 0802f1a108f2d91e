"""What was drawn for the intensities of a patch, ready to be applied where the image is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .frame import Frame
from .intensity import change_volume
from .parameters import IntensityParameters
from .plane import change_plane

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class IntensityChange:
    """A change of intensities, which leaves labels and masks as they are.

    Parameters
    ----------
    frame
        Size and spacing of the patch.
    params
        What was drawn.
    """

    frame: Frame
    params: IntensityParameters

    def on_array(self, image: np.ndarray) -> np.ndarray:
        """Apply it to an image ``(C, *patch)`` float32, which stays as it is, on the processor."""
        change = change_plane if self.frame.ndim == 2 else change_volume
        return change(self.frame, self.params, image)

    def on_tensor(self, image: Tensor) -> Tensor:
        """Apply it to a volume ``(C, Z, Y, X)`` float32, which stays as it is, on the volume's device.

        The result is that of `on_array` but for rounding.
        """
        from .intensity_tensors import change_tensor

        return change_tensor(self.frame, self.params, image)
