"""Errors of measured values: distances, regression targets, directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .overlap import Array, Mask


@dataclass(frozen=True)
class ErrorSum:
    """Absolute and squared errors added up; sums of several images are added by ``+``."""

    voxels: int = 0
    absolute: float = 0.0
    squared: float = 0.0

    def __add__(self, other: ErrorSum) -> ErrorSum:
        return ErrorSum(
            self.voxels + other.voxels, self.absolute + other.absolute, self.squared + other.squared
        )

    @property
    def mean(self) -> float | None:
        """Mean absolute error; None without any voxel, since no error is not a small one."""
        return self.absolute / self.voxels if self.voxels else None

    @property
    def root_mean_square(self) -> float | None:
        """Root of the mean squared error; None without any voxel."""
        return float(np.sqrt(self.squared / self.voxels)) if self.voxels else None


def value_errors(truth: Array, prediction: Array, valid: Mask | None = None) -> ErrorSum:
    """Compare measured values.

    Parameters
    ----------
    truth, prediction
        `(C, *spatial)` or `(*spatial)`, in the same units.
    valid
        `(*spatial)` or `(1, *spatial)`, True where the truth is known; None is everywhere.
    """
    return _errors(np.subtract(prediction, truth, dtype=np.float64), valid)


def angles(truth: Array, prediction: Array, *, signed: bool = True) -> npt.NDArray[np.float64]:
    """Return the angle between vectors, degrees, `(*spatial)`, of two `(ndim, *spatial)`.

    atan2(‖n̂ − m̂‖, ‖n̂ + m̂‖)·2 of the unit vectors (Kahan 2006), which keeps its digits at small angles where
    the arc cosine does not. A vector without length is at 90° to every other. When they are not `signed`, a
    vector and its opposite are the same, and no angle exceeds 90°.
    """
    true, predicted = _unit(truth), _unit(prediction)
    half = np.arctan2(np.linalg.norm(true - predicted, axis=0), np.linalg.norm(true + predicted, axis=0))
    found = np.degrees(2 * half)
    return np.asarray(found if signed else np.minimum(found, 180.0 - found))


def angle_errors(
    truth: Array, prediction: Array, valid: Mask | None = None, *, signed: bool = True
) -> ErrorSum:
    """Compare directions, `(ndim, *spatial)`; errors in degrees, see `angles` and `value_errors`."""
    return _errors(angles(truth, prediction, signed=signed), valid)


def mae(truth: Array, prediction: Array, valid: Mask | None = None) -> float | None:
    """Return the mean absolute error; see `value_errors`."""
    return value_errors(truth, prediction, valid).mean


def angular_error(truth: Array, prediction: Array, valid: Mask | None = None) -> float | None:
    """Return the mean angle between vectors in degrees; see `angles`."""
    return angle_errors(truth, prediction, valid).mean


def _unit(vectors: Array) -> npt.NDArray[np.float64]:
    vectors = np.asarray(vectors, np.float64)
    length = np.linalg.norm(vectors, axis=0)
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0))


def _errors(errors: npt.NDArray[np.float64], valid: Mask | None) -> ErrorSum:
    if valid is not None:
        errors = errors[np.broadcast_to(valid, errors.shape)]
    return ErrorSum(errors.size, float(np.abs(errors).sum()), float(np.square(errors).sum()))
