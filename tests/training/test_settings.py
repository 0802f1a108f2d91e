"""Settings of a training that would be missed nowhere else do what they say in a whole training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from napari_segtrain.runs import Warned
from napari_segtrain.training import building


def test_validations_come_when_and_as_long_as_asked_and_decide_by_the_wanted_value(make_experiment) -> None:
    made = make_experiment(
        tr_config__num_epochs=4,
        tr_config__val_every=2,
        tr_config__val_steps=1,
        tr_config__ema_decay=0.9,
        tr_config__monitor="val_fg_dice",
        tr_config__mode="max",
        tr_config__optimizer={"name": "AdamW", "lr": 0.02},
    )
    module = made.experiment.module
    judged: list[tuple[int, bool]] = []
    real = module.validation_step

    def step(*args: Any) -> Any:
        average = module.ema.weights()
        own = module.ema.own_weights()
        now = module.network.state_dict()
        averaged = all(torch.equal(v, average[k]) for k, v in now.items())
        judged.append(
            (module.epochs_done, averaged and not all(torch.equal(v, own[k]) for k, v in now.items()))
        )
        return real(*args)

    module.validation_step = step
    result = made.fit()
    rows = made.run.read_metrics()
    assert ["val_loss" in row for row in rows] == [False, True, False, True]
    assert judged == [(1, True), (3, True)], "one batch each, with the averaged weights"
    best = max(rows[1::2], key=lambda row: row["val_fg_dice"])
    assert (result.best.monitor, result.best.epoch) == ("val_fg_dice", best["epoch"])


def test_number_formats_of_a_processor(make_experiment) -> None:
    rows, said, seen = {}, {}, {}
    for precision in ("fp32", "bf16", "fp16"):
        made = make_experiment(tr_setup__precision=precision, tr_config__num_epochs=1)
        formats: set[torch.dtype] = set()
        convolution = next(
            m for m in made.experiment.module.network.modules() if isinstance(m, torch.nn.Conv2d)
        )
        convolution.register_forward_hook(lambda m, i, out, found=formats: found.add(out.dtype))
        made.fit()
        rows[precision], seen[precision] = made.run.read_metrics(), formats
        said[precision] = " ".join(event.message for event in made.of(Warned))
        assert made.run.read_config().tr_setup.precision == ("fp32" if precision == "fp16" else precision)
    assert seen == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}, "fp16": {torch.float32}}
    assert rows["bf16"] != rows["fp32"]
    assert rows["bf16"][0]["val_loss"] == pytest.approx(rows["fp32"][0]["val_loss"], rel=0.05)
    assert rows["fp16"] == rows["fp32"]
    assert "fp16 training needs an NVIDIA GPU, this is a processor; fp32 is used instead" in said["fp16"]
    assert "bf16 is slower than fp32 on most processors" in said["bf16"]
    assert not said["fp32"]


@pytest.mark.parametrize("switch", ["auto", "on", "off"])
def test_the_compiler_is_asked_as_configured_with_the_work_ahead(
    make_experiment, monkeypatch, switch
) -> None:
    asked: list[Any] = []

    def note(network: Any, accelerator: str, **how: Any) -> bool:
        asked.append(SimpleNamespace(**how))
        return switch == "on"

    monkeypatch.setattr(building, "maybe_compile", note)
    made = make_experiment(tr_setup__compile=switch)
    assert [(how.switch, how.expected_steps, how.batch_size) for how in asked] == [(switch, 6, 2)]
    assert made.run.read_config().tr_setup.compile == ("on" if switch == "on" else "off")
