from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segtrain.config import TrSetup
from napari_segtrain.runs import run_name

LR = "tr_config.optimizer.lr"
BATCH = "tr_config.batch_size"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({}, "base"),
        ({LR: 0.01, BATCH: 32}, "batch_32_lr_0.01"),
        ({BATCH: 32, LR: 0.01}, "batch_32_lr_0.01"),
        ({"lr": 0.01, "batch-size": 32}, "batch_32_lr_0.01"),
        ({"tr_setup.seed": 3, LR: 1e-4, "tr_config.num_epochs": 5}, "epochs_5_lr_0.0001_seed_3"),
        ({"tr_config.accumulate": 0}, "accumulate_0"),
        ({"tr_config.patch_size": [64, 128, 128]}, "patch_size_64-128-128"),
        ({"tr_config.optimizer": {"name": "sgd", "lr": 1}}, "optimizer_sgd"),
        ({"loss": "DiceLoss,nuclei=MSELoss"}, "loss_DiceLoss-nuclei-MSELoss"),
        ({"a.losses": [{"name": "DiceLoss"}, {"name": "L1Loss"}]}, "losses_DiceLoss-L1Loss"),
        ({"network.deep_supervision": True, "network.se": False}, "deep_supervision_on_se_off"),
        ({"tr_config.max_time": None}, "max_time_none"),
        ({"targets.a.weight": 2, "targets.b.weight": 3}, "a_weight_2_b_weight_3"),
        (
            {
                "tr_setup.device": "cpu",
                "tr_config.evaluate_after": "none",
                "tr_setup.num_workers": 2,
                "tr_setup.run_name": "x",
            },
            "base",
        ),
        ({"tr_setup.devices": 2, "tr_setup.num_nodes": 3, "tr_setup.strategy": "ddp"}, "base"),
        ({"config_path": "a.yaml", "where": Path("x/y"), "cache_dir": "z"}, "base"),
    ],
)
def test_changed_settings_name_the_run(overrides: dict[str, object], name: str) -> None:
    assert run_name(overrides) == name


@given(st.permutations([(LR, 0.5), (BATCH, 2), ("tr_setup.seed", 1), ("x.alpha", "b")]))
def test_the_order_of_the_flags_does_not_matter(order: list[tuple[str, object]]) -> None:
    assert run_name(dict(order)) == "batch_2_lr_0.5_alpha_b_seed_1"


@given(st.dictionaries(st.text(min_size=1), st.text() | st.floats() | st.integers() | st.lists(st.text())))
def test_every_name_is_usable_as_a_folder(overrides: dict[str, object]) -> None:
    name = run_name(overrides)
    assert len(name) <= 80
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)
    assert TrSetup(run_name=name).run_name == name
