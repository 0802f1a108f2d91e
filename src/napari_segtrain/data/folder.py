"""Data sets in folders: ``images/`` with ``labels/`` and ``masks/``, or layers that napari saved."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import DataError, DatasetConfig
from .assembly import Item, assemble
from .dataset import Dataset
from .naming import first_names, match_names
from .napari_folder import MASK, napari_items
from .sources.table import FILE_FORMATS, ZARR, file_format, stem

SPLIT_FILE = "split.json"


def open_folder(
    path: str | Path, config: DatasetConfig | None = None, *, elsewhere: Collection[str] = ()
) -> Dataset:
    """Open a data folder, lazily: headers are read, voxels are not.

    Parameters
    ----------
    path
        A folder with ``images/<id>.<ending>``, ``labels/<id>_<target>.<ending>`` and, optionally,
        ``masks/<id>_<target>.<ending>`` or ``masks/<id>.<ending>`` (formats zarr and tif); or a folder
        of layers saved by napari: ``<image>``, ``<image>_<target>``, ``<image>_mask`` and
        ``<image>_<target>_mask`` (format napari). Ids and targets may contain underscores: the longest
        image name that fits is taken, configured target names first. A ``split.json`` may lie beside.
    config
        Format, targets, dimension, channel axis, level and spacing; the defaults detect all of them.
    elsewhere
        Ids of images that are taken from elsewhere: that their own file cannot be opened is noted only.

    Returns
    -------
    Dataset
        What could not be opened is listed in `Dataset.faults`.

    Raises
    ------
    DataError
        When the folder does not exist or holds no image at all.
    """
    config = config or DatasetConfig()
    root = _existing_folder(path)
    faults: list[str] = []
    notes: list[str] = []
    if config.format == "napari" or (config.format is None and not (root / "images").is_dir()):
        items = napari_items(_data_files(root, None), config, faults)
    else:
        items = _layout_items(root, config.format, config, faults, notes)
    if not items and not faults:
        raise DataError(
            f"{root}: no image was found. Put images into {root / 'images'} and labels into "
            f"{root / 'labels'} as <image>_<target>; files end in {_endings()}."
        )
    split_file = _read_split_file(root / SPLIT_FILE, faults)
    return assemble(
        items,
        config,
        origin=str(root),
        faults=faults,
        notes=notes,
        split_file=split_file,
        elsewhere=elsewhere,
    )


def find_images(
    path: str | Path,
    config: DatasetConfig | None = None,
    outputs: Iterable[str] = (),
    notes: list[str] | None = None,
) -> dict[str, Path]:
    """Find the images that a path means, for prediction; none is opened.

    Parameters
    ----------
    path
        A file, a Zarr store, a data folder, whose ``images/`` are taken, or any other folder. There,
        ``<image>_<target>`` and ``<image>_mask`` are taken for labels and masks that napari saved, when
        the image they are called after is there too.
    config
        Its targets are the names of labels.
    outputs
        Further names of labels: what a network outputs may have been written beside its images.
    notes
        Gets a sentence about files that are passed over.

    Returns
    -------
    dict
        Path by name, in the order of names.

    Raises
    ------
    DataError
        When there is no image at all, or two have one name.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{place}: there is nothing here. Give an image, a folder of images or a Zarr store.")
    if place.is_file() or file_format(place) is not None:
        return {stem(place): place}
    faults: list[str] = []
    if (place / "images").is_dir():
        found = _unique(_data_files(place / "images", None), faults)
    else:
        files = _data_files(place, None)
        items = napari_items(files, config or DatasetConfig(), faults, (*outputs, MASK))
        found = {item.id: item.image for item in items}
        passed = [file.name for file in files if file not in found.values()]
        if passed and notes is not None:
            notes.append(f"{place}: taken for labels or masks and not predicted: {', '.join(passed)}")
    if faults:
        raise DataError.listing(faults)
    if not found:
        raise DataError(f"{place}: no image was found. Files end in {_endings()}.")
    return dict(sorted(found.items()))


def _layout_items(
    root: Path, wanted: str | None, config: DatasetConfig, faults: list[str], notes: list[str]
) -> list[Item]:
    folder = root / "images"
    if not folder.is_dir():
        raise DataError(
            f"{root}: there is no folder images/ in it, which format {wanted} needs. Put the images there, "
            "or "
            "set dataset_config.format to napari for a folder of saved layers."
        )
    images = _unique(_data_files(folder, wanted), faults)
    items = {name: Item(name, file) for name, file in images.items()}
    if not items:
        raise DataError(
            f"{folder}: no image was found. Files of format {wanted or 'tif or zarr'} end in "
            f"{_endings(wanted)}."
        )
    for kind in ("labels", "masks"):
        claims = _claims(_data_files(root / kind, wanted), list(items), config, kind, notes)
        for (owner, name), files in claims.items():
            if len(files) > 1:
                listed = " and ".join(f.name for f in files)
                faults.append(
                    f"{root / kind}: {listed} both hold the {kind} {name!r} of {owner}. Remove one."
                )
            getattr(items[owner], kind)[name] = files[0]
    return list(items.values())


def _claims(
    files: Sequence[Path], ids: Sequence[str], config: DatasetConfig, kind: str, notes: list[str]
) -> dict[tuple[str, str], list[Path]]:
    """Return the files by (image, target) that their names claim to belong to."""
    known = set(config.targets) | {t.labels for t in config.targets.values() if t.labels}
    known |= {t.mask for t in config.targets.values() if t.mask}
    whole = match_names([stem(f) for f in files], set(ids), known, exact_first=kind == "masks")
    claims: dict[tuple[str, str], list[Path]] = {}
    strays: list[str] = []
    for file in files:
        match = whole[stem(file)]
        if match is None:
            strays.append(file.name)
        else:
            claims.setdefault(match, []).append(file)
    if strays:
        verb, their = ("belongs", "its name begins") if len(strays) == 1 else ("belong", "their names begin")
        notes.append(
            f"{files[0].parent}: {first_names(strays)} {verb} to no image, because no image is called as "
            f"{their}; not used."
        )
    return claims


def _unique(files: Iterable[Path], faults: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        name = stem(file)
        if name in found:
            faults.append(
                f"{file.parent}: {found[name].name} and {file.name} are both the image {name}. Remove one."
            )
        else:
            found[name] = file
    return found


def _data_files(folder: Path, wanted: str | None) -> list[Path]:
    """Return the files and stores in a folder that can be opened, by name; `wanted` is zarr, tif or any."""
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        opener = None if path.name.startswith(".") else file_format(path)
        if opener is not None and (wanted is None or (wanted == "zarr") == (opener is ZARR)):
            found.append(path)
    return found


def _read_split_file(path: Path, faults: list[str]) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        faults.append(f"{path}: not readable as JSON ({error}). Correct or remove it.")
        return None
    if not isinstance(content, dict):
        faults.append(
            f"{path}: a split is a mapping with the keys train, val and test. Correct or remove it."
        )
        return None
    return content


def _existing_folder(path: str | Path) -> Path:
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f"{root} does not exist. Give a folder with images/ and labels/.")
    if not root.is_dir() or file_format(root) is not None:
        what = "a single image" if file_format(root) is not None else "a file"
        raise DataError(f"{root} is {what}. Give the folder that holds images/ and labels/.")
    return root


def _endings(wanted: str | None = None) -> str:
    formats = [f for f in FILE_FORMATS if wanted is None or (wanted == "zarr") == (f is ZARR)]
    return ", ".join(ending for f in formats for ending in f.suffixes)
