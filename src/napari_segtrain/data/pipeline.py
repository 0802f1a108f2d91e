"""One sample from end to end: crop, normalise, augment, derive targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..config import DataError
from .dataset import Dataset
from .index_rules import IndexRules
from .normalisation import Normalisation
from .patch_reader import Arrays, Augmenting, ImageChange, PatchReader
from .patches import PatchSpec
from .sampling import sample_stream


class Sampler(Protocol):
    """Says which patch a sample is."""

    def draw(self, epoch: int, number: int, random: np.random.Generator) -> PatchSpec:
        """Return the patch of sample `number`, drawn from the sample's own stream of random numbers."""
        ...


class Deriver(Protocol):
    """Turns labels into what the network's heads shall output; see `targets.TargetDeriver`."""

    def __call__(
        self,
        labels: Mapping[str, NDArray[Any]],
        masks: Mapping[str, NDArray[Any]],
        spacing: tuple[float, ...],
    ) -> Arrays:
        """Return ``{head: (Ct, *spatial)}`` and ``{head + "_mask": (1, *spatial) bool}``."""
        ...


class PatchDataset:
    """Makes samples: ``dataset[epoch, number]``, the same in any thread, in any order.

    A sample is ``{"image": (C, *patch) float32, "<head>": (Ct, *patch), "<head>_mask": (1, *patch) bool}``,
    spatial axes (z,) y, x. What lies outside the region is reflected image and never labelled.

    Parameters
    ----------
    dataset
        Where the records are.
    sampler
        Says which patch a sample is.
    rules
        The targets and what of them is labelled; the rules of the sampler's index.
    normalisation
        Fitted on the training data.
    deriver
        Makes the heads' targets from the labels of a patch.
    seed
        Of the run.
    augmenter
        Called with a spacing; returns what changes patches of images with it. None: patches stay as
        they are.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        rules: IndexRules,
        normalisation: Normalisation,
        deriver: Deriver,
        seed: int,
        augmenter: Callable[[tuple[float, ...]], Augmenting] | None = None,
    ) -> None:
        self._dataset = dataset
        self._reader = PatchReader(dataset, rules, normalisation, augmenter)
        self._sampler = sampler
        self._deriver = deriver
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Arrays:
        """Return sample `number` of an epoch.

        Raises
        ------
        DataError
            When the data cannot be read, or holds NaN; names the record and the patch's position.
        """
        return self.sample(*key)[0]

    def spec(self, epoch: int, number: int) -> PatchSpec:
        """Return which patch a sample is, without reading it."""
        return self._sampler.draw(epoch, number, sample_stream(self._seed, epoch, number))

    def sample(
        self, epoch: int, number: int, *, moved_only: bool = False
    ) -> tuple[Arrays, ImageChange | None]:
        """Return a sample, and what is still to be done to its image.

        Parameters
        ----------
        epoch, number
            Which sample.
        moved_only
            Leave the image's intensities, which nothing else of a sample depends on, for later.

        Raises
        ------
        DataError
            When the data cannot be read, or holds NaN; names the record and the patch's position.
        """
        random = sample_stream(self._seed, epoch, number)
        spec = self._sampler.draw(epoch, number, random)
        try:
            patch = self._reader.read(spec, random, moved_only=moved_only)
            spacing = self._dataset.records[spec.record].spacing
            derived = self._deriver(patch.labels, patch.masks, spacing)
            return {"image": patch.image, **derived}, patch.pending
        except (DataError, OSError) as error:
            raise DataError(f"patch of {spec}: {error}") from error
        except Exception as error:
            error.add_note(f"while the patch of {spec} was prepared (epoch {epoch}, sample {number})")
            raise
