from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_segtrain.config import ConfigError, ExperimentConfig, load_config
from napari_segtrain.config.vesuvius import translate

THEIRS = """
tr_setup:
  model_name: Surface
  autoconfigure: false
  tr_val_split: 0.9
  compute_loss_on_labeled_only: true
tr_config:
  patch_size: [64, 96, 96]
  batch_size: 3
  initial_lr: 0.005
  weight_decay: 0.00003
  optimizer: SGD
  max_epoch: 123
  max_steps_per_epoch: 40
  max_val_steps_per_epoch: 7
  val_every_n: 2
  early_stopping_patience: 9
  gradient_accumulation: 4
  gradient_clip: 5
  num_dataloader_workers: 0
  enable_deep_supervision: true
  use_amp: false
  scheduler: poly
model_config:
  features_per_stage: [16, 32, 64]
  n_stages: 3
  n_blocks_per_stage: [1, 2, 3]
  n_conv_per_stage_decoder: [1, 1]
  kernel_sizes: [3, 3, 3]
  strides: [1, 2, [1, 2, 2]]
  basic_encoder_block: BasicBlockD
  basic_decoder_block: ConvBlock
  bottleneck_block: BasicBlockD
  conv_op: nn.Conv3d
  norm_op: nn.BatchNorm3d
  norm_op_kwargs: {affine: true, eps: 1e-5}
  dropout_op: nn.Dropout3d
  dropout_op_kwargs: {p: 0.2}
  nonlin: nn.ReLU
  nonlin_kwargs: {inplace: true}
  pool_type: avg
  squeeze_excitation: true
  stochastic_depth_p: 0.1
  separate_decoders: false
dataset_config:
  normalization_scheme: zscore
  min_labeled_ratio: 0.1
  min_bbox_percent: 0.5
  skip_bounding_box: false
  ome_zarr_resolution: 1
  no_spatial: true
  target_value: {hz: 2}
  binarize_labels: true
  targets:
    surface:
      ignore_label: 2
      activation: none
      losses:
        - name: nnUNet_DC_and_CE_loss
          weight: 0.7
          kwargs: {ignore_index: 2, dim: 1, eps: 1e-8}
    hz:
      channels: 1
      losses: [{name: BCEDiceLoss, weight: 1.0, kwargs: {}}]
inference_config:
  patch_size: [64, 64, 64]
  output_targets: [all]
  overlap: 0.25
  load_strict: false
auxiliary_tasks:
  normals:
    type: surface_normals
    source_target: surface
    loss_weight: 0.5
    losses: [{name: CosineSimilarityLoss, kwargs: {dim: 1, eps: 1e-8}}]
"""


def load(folder: Path, text: str) -> ExperimentConfig:
    file = folder / "theirs.yaml"
    file.write_text(text)
    return load_config(file)


def test_every_key_with_a_meaning_is_taken_over(tmp_path: Path) -> None:
    config = load(tmp_path, THEIRS)
    assert (config.tr_setup.train_split, config.tr_setup.num_workers) == (0.9, 0)
    assert config.tr_setup.precision == "fp32"
    training = config.tr_config
    assert training.loss_on_label_only
    assert (training.optimizer.name, training.optimizer.lr) == ("SGD", 0.005)
    assert training.optimizer.weight_decay == 0.00003
    assert training.scheduler.name == "poly"
    assert (training.num_epochs, training.steps_per_epoch, training.val_steps) == (123, 40, 7)
    assert (training.val_every, training.early_stopping, training.accumulate) == (2, 9, 4)
    assert (training.patch_size, training.batch_size, training.gradient_clip) == ((64, 96, 96), 3, 5)
    network = config.network
    assert network.features == (16, 32, 64)
    assert network.blocks_per_stage == (1, 2, 3)
    assert network.decoder_blocks == 1
    assert network.kernel_sizes == ((3, 3, 3),) * 3
    assert network.strides == ((1, 1, 1), (2, 2, 2), (1, 2, 2))
    assert (network.norm, network.nonlinearity, network.pooling) == ("batch", "relu", "average")
    assert (network.dropout, network.stochastic_depth) == (0.2, 0.1)
    assert network.squeeze_excitation
    assert network.deep_supervision
    assert network.decoders == "shared"
    data = config.dataset_config
    assert (data.ndim, data.level, data.normalisation.name) == (3, 1, "zscore")
    assert (data.min_labeled_ratio, data.min_bbox_percent) == (0.1, 0.5)
    assert (data.augmentation.flip, data.augmentation.elastic, data.augmentation.noise) == (0, 0, 0.15)
    surface = data.targets["surface"]
    assert (surface.unlabelled, surface.activation, surface.out_channels) == (2, "none", 2)
    assert [(loss.name, loss.weight, loss.kwargs) for loss in surface.losses] == [("DiceCELoss", 0.7, {})]
    assert surface.kind == "classes"
    assert (data.targets["hz"].kind, data.targets["hz"].values) == ("binary", (2,))
    assert (config.inference_config.tile_size, config.inference_config.targets) == ((64, 64, 64), None)
    task = config.auxiliary_tasks["normals"]
    assert (task.loss_weight, task.losses[0].name, task.losses[0].kwargs) == (0.5, "CosineSimilarityLoss", {})


def test_all_that_has_no_meaning_is_refused_in_one_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            """
tr_setup: {wandb_project: mine, ckpt_out_base: ./checkpoints}
tr_config: {optimizer: Lion, initial_lr: 0.1, prefetch_factor: 4, val_every_m: 3}
model_config:
  basic_encoder_block: BottleneckD
  architecture_type: mednext_v1
  n_conv_per_stage_decoder: [1, 2]
  features_per_stage: [8, 16]
  n_stages: 3
  norm_op: LayerNorm
dataset_config:
  volumes: [{image: a.zarr}]
  targets: {a: {ignore_label: 2, losses: [{name: CEDiceLoss, kwargs: {ignore_index: 3}}]}}
mean_teacher_config: {ema_decay: 0.99}
""",
        )
    faults = caught.value.faults
    said = {
        "tr_setup.wandb_project": "TensorBoard",
        "tr_setup.ckpt_out_base": "-o",
        "tr_config.optimizer": "Allowed: adam, adamw, nadam, radam, sgd",
        "tr_config.prefetch_factor": "delete the line",
        "tr_config.val_every_m": "Did you mean 'val_every'",
        "model_config.basic_encoder_block": "'BottleneckD' is not offered",
        "model_config.architecture_type": "'mednext_v1' is not offered",
        "model_config.n_conv_per_stage_decoder": "differs from stage to stage",
        "model_config.n_stages": "features_per_stage has 2 stages",
        "model_config.norm_op": "Allowed:",
        "dataset_config.volumes": "images/<id>",
        "dataset_config.targets.a.losses.0.kwargs.ignore_index": "unlabelled: 3",
        "mean_teacher_config": "delete the section",
    }
    for key, words in said.items():
        assert any(fault.startswith(f"{key}: ") and words in fault for fault in faults), (key, faults)
    assert len(faults) == len(said)
    assert str(caught.value).startswith(f"{tmp_path / 'theirs.yaml'}: 13 faults")


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("tr_setup", {"checkpoint_path": None, "wandb_entity": "", "dilate_label": False}),
        ("tr_config", {"prefetch_factor": 0, "augment_on_device": False}),
        ("dataset_config", {"volume_task_loss_config": {}, "bg_sampling_enabled": False, "volumes": []}),
    ],
)
def test_what_is_off_is_left_out(section: str, keys: dict[str, Any]) -> None:
    assert translate({section: keys}) == ({section: {}}, [])


def test_an_experiment_of_ours_passes_through_unchanged() -> None:
    ours = yaml.safe_load(yaml.safe_dump(ExperimentConfig().to_dict()))
    assert translate(ours) == (ours, [])


def test_a_key_that_is_given_under_both_names_is_refused() -> None:
    _, faults = translate({"tr_config": {"num_epochs": 3, "max_epoch": 4}})
    assert faults == ["tr_config.max_epoch: tr_config.num_epochs is given too; keep one of them"]


def test_their_shorthands_mean_the_same_here() -> None:
    values, faults = translate(
        {
            "tr_config": {"optimizer": "adamw"},
            "model_config": {"n_stages": 4, "autoconfigure": True, "nonlin_kwargs": {"negative_slope": 0.2}},
            "dataset_config": {"skip_patch_validation": True, "min_bbox_percent": 0.9},
            "inference_config": {"targets": [{"fibers": {"channels": 3}}, "surface"]},
            "auxiliary_tasks": {"d": {"loss": "MSELoss", "weight": 2}},
        }
    )
    assert values["tr_config"]["optimizer"] == {"name": "AdamW"}
    assert values["model_config"] == {"max_poolings": 3}
    assert values["dataset_config"] == {"min_bbox_percent": 0.0, "min_labeled_ratio": 0.0}
    assert values["inference_config"]["targets"] == ["fibers", "surface"]
    assert values["auxiliary_tasks"]["d"] == {"losses": [{"name": "MSELoss", "kwargs": {}}], "loss_weight": 2}
    assert faults == ["model_config.nonlin_kwargs: 0.2 is not offered: the negative slope is 0.01"]
