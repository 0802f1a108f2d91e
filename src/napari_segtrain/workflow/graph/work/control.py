"""Repetition of steps."""

from __future__ import annotations

from typing import Any

from napari_segtrain.training import LossValue, StepInfo, seed_everything

from ..context import Context, Values
from ..parameters import RepeatParameters
from .setting import setting_of


def repeat(config: RepeatParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Take the steps again and again, with the next batch each time."""
    rounds = _rounds(config, context)
    history: list[dict[str, Any]] = []
    (first,) = context.graph.links_into(context.node.name)
    # What a network draws while it trains begins where that of a training begins.
    seed_everything(context.recipe.config.tr_setup.seed)
    for number in range(rounds):
        context.check()
        given = {name: context.run(name, number) for name in context.body}
        history.append({"round": number + 1} | _told(given))
        context.progress((number + 1) / rounds, f"round {number + 1} of {rounds}")
    return {"last": context.values[first.source][first.source_port], "history": history}


def _rounds(config: RepeatParameters, context: Context) -> int:
    if config.rounds is not None:
        return config.rounds
    setting = setting_of(context, "how many batches an epoch has follows from the data")
    return config.num_epochs * len(setting.batches.loader("train"))


def _told(given: dict[str, Values]) -> dict[str, Any]:
    """Return what steps say of a round."""
    told: dict[str, Any] = {}
    for values in given.values():
        for value in values.values():
            if isinstance(value, LossValue):
                told["loss"] = value.value
            elif isinstance(value, StepInfo):
                told |= {"learning_rate": value.learning_rate, "norm": value.norm_before}
    return told
