"""Which parts of the data a training would use for what, before any training."""

from __future__ import annotations

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import describe_split
from napari_segtrain.runs import SplitReady
from napari_segtrain.training import planned_split, resolve

from .run_data import DataSpec
from .target_preview import open_labelled


def preview_split(config: ExperimentConfig, data: DataSpec) -> SplitReady:
    """Return the split that a new run of the experiment would be trained with.

    Parameters
    ----------
    config
        The experiment: its training share, seed and patch size decide.
    data
        Where images and labels are.

    Raises
    ------
    ConfigError, DataError
        When configuration or data cannot work, or nothing is labelled.
    """
    config, dataset = open_labelled(config, data)
    split = planned_split(config, dataset, resolve(config, dataset))
    return SplitReady(split=split.to_dict(), words=describe_split(dataset, split))
