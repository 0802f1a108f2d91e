"""A step of the optimizer for which memory does not suffice is taken one tensor after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_segtrain.network import is_out_of_memory

from .memory import reclaim_memory
from .values import Optimization


def step_weights(optimization: Optimization) -> None:
    """Change all weights once, whatever memory there is for it; the numbers are the same in any case.

    Weights that a failed attempt changed are not changed again. From the first attempt that failed on,
    tensors are changed one after another (`Ledger.frugal`); what the optimizer remembers of them then waits
    in the processor's memory instead of the GPU's.

    Raises
    ------
    RuntimeError, MemoryError
        When there is no memory for a single tensor. Some weights are changed then, and others are not.
    """
    left = _Left(optimization.optimizer)
    if not optimization.ledger.frugal:
        try:
            _step(optimization, left)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reclaim_memory(error, next(optimization.network.parameters()).device)
        else:
            return
        optimization.ledger.frugal = True
    left.offload = True
    with left.one_by_one():
        _unscaled(optimization)


def _step(optimization: Optimization, left: _Left) -> None:
    """Step in one kernel where the optimizer has one, which changes everything or nothing."""
    if optimization.optimizer.defaults.get("fused"):
        with _nothing_or_all(optimization.optimizer):
            _unscaled(optimization)
    else:
        with left.one_by_one():
            _unscaled(optimization)


def _unscaled(optimization: Optimization) -> None:
    scaler, optimizer = optimization.scaler, optimization.optimizer
    if scaler is not None:
        scaler.step(optimizer)
    else:
        optimizer.step()


@contextmanager
def _nothing_or_all(optimizer: Optimizer) -> Iterator[None]:
    """Put back what an optimizer did before its kernel ran, when that fails: moments made, steps counted."""
    known = set(optimizer.state)
    counters = [state["step"] for state in optimizer.state.values() if isinstance(state.get("step"), Tensor)]
    before = torch.stack(counters) if counters else None
    try:
        yield
    except BaseException:
        for parameter in [each for each in optimizer.state if each not in known]:
            del optimizer.state[parameter]
        if before is not None:
            for counter, value in zip(counters, before.unbind(), strict=True):
                counter.copy_(value)
        raise


class _Left:
    """The tensors that an optimizer has still to change in a step.

    Attributes
    ----------
    offload
        Whether what is remembered of a tensor waits in the processor's memory.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.offload = False
        self._left = [
            (group, parameter)
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]

    @contextmanager
    def one_by_one(self) -> Iterator[None]:
        """Let the optimizer's own ``step`` change tensors one after another."""
        whole: Any = self.optimizer.step
        groups = self.optimizer.param_groups
        owned = self.optimizer.__dict__.get("step")

        def step(*args: Any, **kwargs: Any) -> None:
            if self.offload:
                for state in self.optimizer.state.values():
                    _move(state, torch.device("cpu"))
            try:
                while self._left:
                    group, parameter = self._left[0]
                    self.optimizer.param_groups = [{**group, "params": [parameter]}]
                    self._one(parameter, whole, *args, **kwargs)
                    self._left.pop(0)
            finally:
                self.optimizer.param_groups = groups

        self.optimizer.step = step  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            if owned is None:
                del self.optimizer.step
            else:
                self.optimizer.step = owned  # type: ignore[method-assign]

    def _one(self, parameter: nn.Parameter, whole: Any, *args: Any, **kwargs: Any) -> None:
        """Change one tensor, or leave it and what is remembered of it as they were."""
        known = self.optimizer.state.get(parameter)
        weights = parameter.detach().clone()
        state = None if known is None else {name: _copy(value) for name, value in known.items()}
        try:
            if known is not None:
                _move(known, parameter.device)
            whole(*args, **kwargs)
        except BaseException:
            with torch.no_grad():
                parameter.copy_(weights)
            if state is None:
                self.optimizer.state.pop(parameter, None)
            else:
                self.optimizer.state[parameter] = state
            raise
        if self.offload:
            _move(self.optimizer.state.get(parameter, {}), torch.device("cpu"))


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _move(state: dict[str, Any], device: torch.device) -> None:
    """Bring moments to a device; counters stay where the optimizer wants them."""
    for name, value in state.items():
        if isinstance(value, Tensor) and value.ndim > 0:
            state[name] = value.to(device)
