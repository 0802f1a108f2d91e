"""Folders of layers that napari saved: which file is an image, which its labels, which its masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..config import DataError, DatasetConfig
from .assembly import UNNAMED, Item
from .naming import match_names
from .sources.axes import match_layout
from .sources.opening import open_sources, open_stored
from .sources.table import stem

MASK = "mask"


def napari_items(
    files: Sequence[Path], config: DatasetConfig, faults: list[str], also: Iterable[str] = ()
) -> list[Item]:
    """Sort saved layers into images, labels and masks by their names.

    ``<image>_mask`` is a mask of all targets, ``<image>_<target>_mask`` of one. ``<image>_<target>`` are
    labels when the target is configured; without configured targets, when the file holds whole numbers
    and has the image's shape. Everything else is an image.

    Parameters
    ----------
    files
        All data files of the folder.
    config
        Its targets are looked for.
    faults
        Gets a sentence for every name that two files have.
    also
        Further names of labels.
    """
    paths: dict[str, Path] = {}
    for file in files:
        name = stem(file)
        if name in paths:
            faults.append(f"{file.parent}: {paths[name].name} and {file.name} have one name. Remove one.")
        else:
            paths[name] = file
    expected = {t.labels or name for name, t in config.targets.items()} | set(also)
    masks = {t.mask for t in config.targets.values() if t.mask} | {MASK}
    items: dict[str, Item] = {}
    # Shortest first: an image is known before the names that begin with its own.
    for name in sorted(paths, key=lambda n: (n.count("_"), len(n), n)):
        owner = match_names([name], items, expected | masks)[name]
        if owner is None or not owner[1]:
            items[name] = Item(name, paths[name])
            continue
        image, target = items[owner[0]], owner[1]
        if target in masks:
            image.masks[UNNAMED if target == MASK else target] = paths[name]
        elif target.endswith("_" + MASK):
            image.masks[target.removesuffix("_" + MASK)] = paths[name]
        elif target in expected or (not expected and _looks_like_labels(paths[name], image, config)):
            image.labels[target] = paths[name]
        else:
            items[name] = Item(name, paths[name])
    return list(items.values())


def _looks_like_labels(path: Path, item: Item, config: DatasetConfig) -> bool:
    try:
        images = open_sources(
            item.image, ndim=config.ndim, channel_axis=config.channel_axis, level=config.level
        )
        stored = open_stored(path, labels=True)
    except DataError:
        return False  # whichever is broken is reported when it is opened as an image
    layout = match_layout(stored, images[0].shape, images[0].stack)
    return stored.dtype.kind in "biu" and layout is not None and layout.channels == 1
