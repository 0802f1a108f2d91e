"""A training that is stepped through: its state, what can be looked at, and what is asked of it."""

from .serve import step_through
from .session import StepSession

__all__ = ["StepSession", "step_through"]
