"""Any loss that a step can be given, called; what is none is refused in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from torch import Tensor, nn

from napari_segtrain.config import TrainingError

from .named_loss import NamedLoss

_TORCHS_OWN = ("torch.nn.functional", "torch.nn.modules.loss")
_A_LOSS = (
    "a loss is the name of one, or a function of outputs, targets (tensors by name, both) and epoch that "
    "returns one tensor"
)


class LossResultLike(Protocol):
    """What a multi-task loss returns."""

    total: Tensor
    parts: dict[str, Tensor]
    valid: dict[str, Tensor]


LossFunction = Callable[[dict[str, Any], dict[str, Tensor], int], "LossResultLike | Tensor"]
"""From outputs, targets and the epoch (counted from 0) to a `LossResult`, or to one scalar tensor."""


def judge(
    loss: LossFunction | nn.Module | str,
    outputs: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    epoch: int,
) -> tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Return the total, the parts and the valid heads that a loss finds.

    Parameters
    ----------
    loss
        A function, or a name.
    outputs, tensors
        What was predicted, and the batch with its targets.
    epoch
        Counted from 0.

    Raises
    ------
    TrainingError
        When it is no loss of outputs, targets and epoch, or does not return one number as a tensor.
    ConfigError
        When there is no loss of this name.
    """
    function = NamedLoss(loss) if isinstance(loss, str) else loss
    if getattr(function, "__module__", "") in _TORCHS_OWN:
        _refuse(f"{_name(loss)} compares two tensors: call it in a function of yours; {_A_LOSS}")
    try:
        result = function(dict(outputs), dict(tensors), epoch)
    except TypeError as error:
        if _takes_three(function):
            raise
        _refuse(f"{_name(loss)} does not take what a loss is given: {_A_LOSS}", error)
    if isinstance(result, Tensor):
        return _one_number(result), {}, {}
    return _one_number(getattr(result, "total", result)), result.parts, result.valid


def _one_number(total: Any) -> Tensor:
    if not isinstance(total, Tensor):
        _refuse(f"the loss returned {_article(type(total).__name__)}: {_A_LOSS}")
    if total.dim():
        _refuse(f"the loss must be one number, and has the shape {tuple(total.shape)}: return its mean")
    return total


def _takes_three(function: Any) -> bool:
    """Return whether a function can be called with three arguments: then an error comes from inside it."""
    try:
        inspect.signature(getattr(function, "forward", function)).bind(None, None, None)
    except (TypeError, ValueError):
        return False
    return True


def _refuse(message: str, cause: BaseException | None = None) -> NoReturn:
    raise TrainingError(message) from cause


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
