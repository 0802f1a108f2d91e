"""What nodes that learn together share: an experiment, its data, and what both mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import Dataset, Part, PatchSpec, Split
from napari_segtrain.inference import Trained, load_trained
from napari_segtrain.runs import check_writable, find_checkpoint
from napari_segtrain.training import (
    ResolvedExperiment,
    SegtrainDataModule,
    complete_targets,
    planned_split,
    prepare_data,
    resolve,
    too_late,
)
from napari_segtrain.workflow.reviewing import Review, review
from napari_segtrain.workflow.run_data import OpenData, open_data, where_it_is

from ..context import Context
from ..from_config import Recipe
from ..ports import GraphError


@dataclass(frozen=True, eq=False)
class Setting:
    """An experiment with its data.

    Attributes
    ----------
    recipe
        What the nodes say.
    reviewed
        The experiment, and what is wrong or unusual about it.
    opened
        Its data.
    batches
        The loaders of its data.
    resolved
        What the experiment means for the data and this machine.
    """

    recipe: Recipe
    reviewed: Review
    opened: OpenData
    batches: SegtrainDataModule
    resolved: ResolvedExperiment

    @property
    def config(self) -> ExperimentConfig:
        """The experiment, with the targets of the data."""
        return self.reviewed.config

    def under(self, recipe: Recipe) -> Setting:
        """Return the same data for an experiment that differs in what batches do not follow from.

        Neither does anything else that was decided for data and machine: what was fitted into the memory,
        such as the patch size, stays as the batches have it. Only what is said of the epochs changes.
        """
        if recipe == self.recipe:
            return self
        config = _config(recipe, self.opened.dataset)
        reviewed = review(config, self.opened.dataset)
        reviewed.checked()
        heads = self.resolved.heads
        before, now = (too_late(heads, each.tr_config.num_epochs) for each in (self.config, config))
        kept = (message for message in self.resolved.messages if message not in before)
        resolved = self.resolved.replace(messages=(*kept, *now))
        return replace(self, recipe=recipe, reviewed=reviewed, resolved=resolved)

    def used(self) -> Setting:
        """Return this setting with its batches told so: other experiments have the same ones."""
        self.batches.config, self.batches.resolved = self.config, self.resolved
        return self


@dataclass(frozen=True, eq=False)
class Loader:
    """The batches of one part of a data loader's images: what its outputs give.

    Attributes
    ----------
    part
        Which part.
    dataset, config
        The images, and the experiment that says how they are read and split.
    where
        What the images were opened from.
    setting
        What is trained on them; None where nothing is.
    """

    part: Part
    dataset: Dataset
    config: ExperimentConfig
    where: Any
    setting: Setting | None = None

    def read_as(self, config: ExperimentConfig) -> Loader:
        """Return the same images, read as a run has read its own, unless the loader says how to read them.

        How they are split, where they are not the run's, is said by the loader in either case.
        """
        if self.setting is not None or self.config.dataset_config != type(config.dataset_config)():
            return self
        config = config.replace(tr_setup=self.config.tr_setup)
        return replace(self, dataset=open_data(self.where, config), config=config)

    @property
    def split(self) -> Split:
        """The split of these images: that of the batches, else what a new training would have."""
        if self.setting is not None:
            return self.setting.batches.split
        config = complete_targets(self.config, self.dataset)
        return planned_split(config, self.dataset, resolve(config, self.dataset))

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._batches)

    def batch(self, index: int) -> Mapping[str, Tensor]:
        """Return one batch of the epoch that is set."""
        batch: Mapping[str, Tensor] = self._batches.batch(index)
        return batch

    def specs(self, index: int) -> Sequence[PatchSpec]:
        """Return which patches a batch of the epoch that is set has."""
        found: Sequence[PatchSpec] = self._batches.specs(index)
        return found

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from 0."""
        self._batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        return (self.batch(index) for index in range(len(self)))

    @property
    def _batches(self) -> Any:
        if self.setting is None:
            raise GraphError("batches are made for a network: connect the loader where one is trained")
        return self.setting.batches.loader(self.part)


def open_setting(context: Context, data: Any) -> Setting:
    """Open the data of an experiment, look for faults in both, and prepare its batches; a stop ends it."""
    recipe = context.recipe
    if recipe.project is not None:
        check_writable(recipe.project)
    dataset = open_data(data, recipe.config)
    context.check()
    reviewed = review(_config(recipe, dataset), dataset)
    reviewed.checked()
    context.check()
    folder = None if recipe.project is None else Path(recipe.project) / "cache"
    batches = prepare_data(reviewed.config, dataset, folder, check=context.check)
    return Setting(recipe, reviewed, OpenData(dataset, where_it_is(data, dataset)), batches, batches.resolved)


def setting_of(context: Context, why: str) -> Setting:
    """Return what a node learns in, with the experiment as the nodes say it now.

    Raises
    ------
    GraphError
        When there is no data loader.
    """
    loader = None if context.loader is None else context.loader["train_loader"]
    if loader is None or loader.setting is None:
        raise GraphError(f"{why}: connect a data loader to what trains it")
    if "setting" not in context.memo:
        context.memo["setting"] = {}
    known: dict[int, Setting] = context.memo["setting"]
    if id(loader) not in known:
        known[id(loader)] = loader.setting.under(context.recipe)
    return known[id(loader)].used()


def _config(recipe: Recipe, dataset: Dataset) -> ExperimentConfig:
    """Return the experiment with the targets of the data, the losses, and the network of a checkpoint."""
    config = complete_targets(recipe.config, dataset)
    changes: dict[str, Any] = {}
    if recipe.losses:
        terms = [term.to_dict() for term in recipe.losses]
        changes = {f"dataset_config.targets.{name}.losses": terms for name in config.dataset_config.targets}
    if recipe.checkpoint is not None:
        changes["model_config"] = network_like(*recipe.checkpoint)
    return config.with_overrides(changes, "the graph") if changes else config


def network_like(run: str, which: Any) -> dict[str, Any]:
    """Return the section ``model_config`` of a network with the sizes and the weights of a trained one."""
    file = find_checkpoint(run, which)
    trained: Trained = load_trained(file)
    plan = trained.plan.to_dict()
    section = trained.config.network.to_dict() if trained.config is not None else {}
    sizes = ("architecture", "features", "blocks_per_stage", "kernel_sizes", "strides")
    return section | {name: plan[name] for name in sizes} | {"weights": str(file)}
