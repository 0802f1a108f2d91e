"""Names of the Vesuvius trainer, and what they are called here or why they are not taken."""

from __future__ import annotations

OPTIMIZERS = ("AdamW", "Adam", "NAdam", "RAdam", "SGD")
SCHEDULES = {
    "poly": "poly",
    "cosine": "cosine",
    "cosine_annealing": "cosine",
    "warmup_cosine": "warmup_cosine",
    "cosine_warmup": "warmup_cosine",
    "diffusers_cosine_warmup": "warmup_cosine",
    "constant": "constant",
    "step": "step",
}
NORMS = {"instancenorm": "instance", "batchnorm": "batch", "groupnorm": "group", "none": "none"}
NONLINEARITIES = {
    "leakyrelu": "leaky_relu",
    "prelu": "prelu",
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "mish": "mish",
}
POOLINGS = {"conv": "strided", "max": "max", "avg": "average", "average": "average"}
NORMALISATIONS = {"zscore": "zscore", "minmax": "minmax", "instance_minmax": "minmax", "none": "none"}
LOSSES = {
    "nnUNet_DC_and_CE_loss": "DiceCELoss",
    "DC_and_CE_loss": "DiceCELoss",
    "CEDiceLoss": "DiceCELoss",
    "nnUNet_DC_and_BCE_loss": "BCEDiceLoss",
    "DC_and_BCE_loss": "BCEDiceLoss",
    "MemoryEfficientSoftDiceLoss": "SoftDiceLoss",
}
OF_CLASSES = ("DiceCELoss", "CrossEntropyLoss")
NOT_HERE = "there is nothing like it here; delete the line"
BY_ITSELF = "it is chosen by itself here and changes no result; delete the line"

MOVED = {
    "tr_setup.tr_val_split": "tr_setup.train_split",
    "tr_setup.compute_loss_on_labeled_only": "tr_config.loss_on_label_only",
    "tr_config.initial_lr": "tr_config.optimizer.lr",
    "tr_config.weight_decay": "tr_config.optimizer.weight_decay",
    "tr_config.momentum": "tr_config.optimizer.momentum",
    "tr_config.max_epoch": "tr_config.num_epochs",
    "tr_config.max_steps_per_epoch": "tr_config.steps_per_epoch",
    "tr_config.max_val_steps_per_epoch": "tr_config.val_steps",
    "tr_config.val_every_n": "tr_config.val_every",
    "tr_config.early_stopping_patience": "tr_config.early_stopping",
    "tr_config.gradient_accumulation": "tr_config.accumulate",
    "tr_config.enable_deep_supervision": "model_config.deep_supervision",
    "tr_config.num_dataloader_workers": "tr_setup.num_workers",
    "tr_config.seed": "tr_setup.seed",
    "model_config.features_per_stage": "model_config.features",
    "model_config.n_blocks_per_stage": "model_config.blocks_per_stage",
    "model_config.pool_op_kernel_sizes": "model_config.strides",
    "model_config.stochastic_depth_p": "model_config.stochastic_depth",
    "model_config.targets": "dataset_config.targets",
    "dataset_config.ome_zarr_resolution": "dataset_config.level",
    "inference_config.patch_size": "inference_config.tile_size",
}
"""Keys that only have another name here."""

NEEDLESS = {
    "tr_setup.autoconfigure",  # what is not given is chosen, what is given is used
    "model_config.autoconfigure",
    "model_config.conv_bias",  # a bias before a normalisation has no effect
    "model_config.norm_op_kwargs",  # affine, with the same guard against division by zero
    "model_config.dropout_op",  # its probability says whether there is any
    "dataset_config.cache_valid_patches",  # the patch index is kept as long as it is right
}
"""Keys that say what is done here anyway."""

REFUSED = {
    "tr_setup.ckpt_out_base": "the project folder is given with -o",
    "tr_setup.checkpoint_path": "a run goes on with segtrain train --resume RUN",
    "tr_setup.load_weights_only": "a run goes on with segtrain train --resume RUN",
    "tr_setup.wandb_project": "runs are logged to TensorBoard in the run folder; delete the line",
    "tr_setup.wandb_entity": "runs are logged to TensorBoard in the run folder; delete the line",
    "dataset_config.data_path": "the data folder is given with -i",
    "dataset_config.volumes": "images are listed by their place: images/<id> and labels/<id>_<target>",
    "dataset_config.intensity_properties": "intensities are measured on the training data; delete the line",
    "inference_config.checkpoint_path": "the run or checkpoint is given to segtrain predict",
    "inference_config.load_strict": "a checkpoint is always read whole; delete the line",
    "mean_teacher_config": "training without labels is not offered; delete the section",
    "lejepa_config": "training without labels is not offered; delete the section",
    **dict.fromkeys(
        (
            "tr_config.prefetch_factor",
            "tr_config.val_prefetch_factor",
            "tr_config.persistent_workers",
            "tr_config.val_persistent_workers",
            "tr_config.val_num_dataloader_workers",
            "tr_config.log_every_n_steps",
            "tr_config.numa_pin",
            "tr_config.augment_on_device",
            "tr_config.profile_augmentations",
            "dataset_config.num_workers",
            "dataset_config.image_check_workers",
            "dataset_config.image_to_zarr_workers",
            "dataset_config.valid_patch_find_resolution",
            "inference_config.num_dataloader_workers",
        ),
        BY_ITSELF,
    ),
    **dict.fromkeys(
        (
            "tr_setup.dilate_label",
            "tr_setup.vram_max",
            "dataset_config.volume_task_loss_config",
            "dataset_config.slice_sampling",
            "dataset_config.rotation_axes",
            "dataset_config.use_mask_for_norm",
            "dataset_config.bg_sampling_enabled",
            "dataset_config.bg_to_fg_ratio",
            "dataset_config.unlabeled_foreground_enabled",
            "dataset_config.unlabeled_foreground_threshold",
            "dataset_config.unlabeled_foreground_bbox_threshold",
            "dataset_config.unlabeled_foreground_volumes",
            "dataset_config.allow_unlabeled_data",
            "dataset_config.meshes",
        ),
        NOT_HERE,
    ),
}
"""Keys without a meaning here, and why; a value that switches the thing off is left out in silence."""
