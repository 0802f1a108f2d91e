"""Images to predict: found by a path, and opened the way the training data was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_segtrain.config import DataError, DatasetConfig
from napari_segtrain.data import find_images
from napari_segtrain.data.sources import Source, open_source
from napari_segtrain.inference import Predictor

READ_AS = ("channel_axis", "level", "spacing")
"""Keys of ``dataset_config`` that say how an image is stored, and not what is learned."""


class ImageReader:
    """Finds and opens images for a network.

    Parameters
    ----------
    predictor
        The network; its run's channel axis and resolution level are those of the images too.
    changes
        Keys of ``dataset_config`` (those of `READ_AS`) for images that are stored in another way.

    Attributes
    ----------
    messages
        Sentences for the user.

    Raises
    ------
    ConfigError
        When a key or value is not valid.
    """

    def __init__(self, predictor: Predictor, changes: Mapping[str, Any] | None = None) -> None:
        self._ndim = predictor.plan.ndim
        self._names = [head.name for head in predictor.heads]
        self._config: DatasetConfig = predictor.dataset.amended(changes or {}, "dataset_config")
        # A spacing of the training data says nothing of other images, which bring their own.
        self._spacing = self._config.spacing if "spacing" in (changes or {}) else None
        self._level_is_asked_for = "level" in (changes or {})
        self.messages: list[str] = []

    def find(self, path: str | Path) -> dict[str, Path]:
        """Return the images that a path means, by name; see `find_images`."""
        return find_images(path, self._config, self._names, self.messages)

    def open(self, image: Any) -> Source:
        """Open a file, a store, or what else `open_source` opens; a stack of planes is one image.

        Raises
        ------
        DataError
            When it cannot be opened.
        """
        level = self._config.level
        try:
            return self._open(image, level)
        except DataError:
            if level == 0 or self._level_is_asked_for:
                raise
        source = self._open(image, 0)
        self.messages.append(
            f"{image}: has no resolution level {level}, on which the network was trained; it is predicted as "
            "it is"
        )
        return source

    def _open(self, image: Any, level: int) -> Source:
        options: dict[str, Any] = {
            "channel_axis": self._config.channel_axis,
            "level": level,
            "spacing": self._spacing,
        }
        if self._ndim == 3:
            return open_source(image, ndim=3, **options)
        source = open_source(image, **options)
        return source if len(source.shape) in (2, 3) else open_source(image, ndim=2, **options)
