"""Loaders of training, validation and test batches, as Lightning asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from napari_segtrain.config import ConfigError, ExperimentConfig
from napari_segtrain.data.live import Follower, labels_changed
from napari_segtrain.data.loader import PatchLoader
from napari_segtrain.data.ram import batches_ahead, main_memory
from napari_segtrain.data.records import Part, Split
from napari_segtrain.data.sources.cache import share_cache
from napari_segtrain.runs import LabelChange, RunFolder
from napari_segtrain.runs.label_store import LabelStore
from napari_segtrain.targets import TargetDeriver

from .label_history import LabelHistory
from .resolve import ResolvedExperiment
from .team import ALONE, Team

if TYPE_CHECKING:
    from napari_segtrain.data import Dataset

Batch = dict[str, Tensor]


class EpochLoader:
    """Hands a loader's batches to Lightning, in the epoch, and from the batch, that the run is at.

    Batches of the epoch that an earlier process did already are stood for by empty ones, so that the
    numbers of batches, and what follows their last, are those of a whole epoch.

    Parameters
    ----------
    loader
        What makes the batches.
    position
        Asked at the start of each iteration for the epoch (from 0) and the number of batches done.
    """

    def __init__(self, loader: PatchLoader, position: Callable[[], tuple[int, int]]) -> None:
        self.loader = loader
        self.position = position

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        # A generator begins with its first batch: Lightning makes iterators that it never uses.
        epoch, done = self.position()
        self.loader.set_epoch(epoch)
        for _ in range(done):
            yield {}
        yield from self.loader.batches(start=done)


class SegtrainDataModule(pl.LightningDataModule):
    """The batches of one of several splits.

    Parameters
    ----------
    dataset
        Where the images are.
    splits
        One split, or the folds of a cross-validation.
    config
        The experiment.
    resolved
        Patch size, batch size, workers, facts, and the normalisation, which is fitted.
    deriver
        Makes targets from labels.
    split_index
        Which of the splits.
    cache_dir
        Keeps patch indices for the next time; None for not.
    team
        The processes that share every batch.

    Raises
    ------
    ConfigError
        When there is no such split, or no normalisation yet.
    """

    def __init__(
        self,
        dataset: Dataset,
        splits: Split | Sequence[Split],
        config: ExperimentConfig,
        resolved: ResolvedExperiment,
        deriver: TargetDeriver,
        *,
        split_index: int = 0,
        cache_dir: Path | None = None,
        team: Team = ALONE,
    ) -> None:
        super().__init__()
        self.splits = (splits,) if isinstance(splits, Split) else tuple(splits)
        if not 0 <= split_index < len(self.splits):
            raise ConfigError(
                f"split_index {split_index} is out of range: there are the splits 0 to {len(self.splits) - 1}"
            )
        if resolved.normalisation is None:
            raise ConfigError("batches need a normalisation that was fitted on the training data")
        self._normalisation = resolved.normalisation
        self.split = self.splits[split_index]
        self.config = config
        self.resolved = resolved
        self.forget_training()
        self._dataset = dataset
        self._deriver = deriver
        self._cache_dir = cache_dir
        self._team = team
        if not team.alone:
            share_cache(len(resolved.devices))
        self._loaders: dict[Part, PatchLoader] = {}

    def forget_training(self) -> None:
        """Be at the first batch, and keep nothing alive of what was trained with the batches."""
        self.position: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.device: Callable[[], torch.device] = lambda: torch.device(self.resolved.device)
        self.trainer = None
        self._history: LabelHistory | None = None

    def loader(self, part: Part) -> PatchLoader:
        """Return the loader of a part, made when it is first asked for.

        Raises
        ------
        DataError
            When the part has no patch with labels.
        """
        if part not in self._loaders:
            resolved, train = self.resolved, part == "train"
            steps = resolved.batches_per_epoch if train else self.config.tr_config.val_steps
            self._loaders[part] = PatchLoader(
                self._dataset,
                self.split,
                part,
                self.config,
                resolved.patch_size,
                self._normalisation,
                self._deriver,
                resolved.batch_size,
                steps=steps,
                num_workers=resolved.num_workers,
                augment=train,
                pin=resolved.accelerator == "cuda",
                facts=resolved.facts,
                cache_dir=self._cache_dir,
                device=(lambda: self.device()) if train and resolved.augment_on_gpu else None,
                rank=self._team.rank,
                world_size=self._team.size,
                ahead=batches_ahead(
                    resolved.num_workers,
                    resolved.batch_bytes,
                    main_memory().free // len(resolved.devices),
                ),
            )
        return self._loaders[part]

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on."""
        return bool(self.split.val)

    def train_dataloader(self) -> EpochLoader:
        """Return training batches of the epoch that `position` says."""
        return EpochLoader(self.loader("train"), lambda: self.position())

    def val_dataloader(self) -> Any:
        """Return validation batches, the same in every epoch; none when there is no validation part."""
        return EpochLoader(self.loader("val"), lambda: (0, 0)) if self.validates else []

    def test_dataloader(self) -> Any:
        """Return the batches of the test part; none when there is none."""
        return EpochLoader(self.loader("test"), lambda: (0, 0)) if self.split.test else []

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave the batch where it is: `prepare_batch`, the second step, moves it."""
        return batch

    def labels_changed(self, change: LabelChange) -> bool:
        """Let later batches use painted labels; return whether any patch is touched.

        Raises
        ------
        DataError
            When the labels are not of this data, or no longer fit the image.
        """
        bounds = list(zip(change.start, change.stop, strict=True))
        followers: list[Follower] = list(self._loaders.values())
        if self._history is not None:
            followers.append(self._history)
        return labels_changed(self._dataset, followers, change.record, change.target, bounds, self.position())

    def follow_labels(self, run: RunFolder) -> LabelHistory | None:
        """Return what keeps the labels with the checkpoints of a run; None where they are not to be kept."""
        tr = self.config.tr_config
        self._history = None  # that of an earlier run with the same batches
        if tr.keep_labels:
            self._history = LabelHistory(self._dataset, LabelStore(run.path), tr.keep_labels_up_to)
        return self._history

    def state_dict(self) -> dict[str, Any]:
        """Return what of the painting a resumed training still prefers; nothing where nobody painted."""
        recent = self.loader("train").recent_state(self.position())
        return {"recent": recent} if recent else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        if state_dict:
            self.loader("train").index.restore_recent(state_dict["recent"])

    def close(self) -> None:
        """Stop the loaders' threads, keep what was painted last, and follow no labels."""
        try:
            if self._history is not None:
                self._history.keep_rest(self.position()[0] + 1)
        finally:
            if self._history is not None:
                self._history.close()
            for loader in self._loaders.values():
                loader.close()
