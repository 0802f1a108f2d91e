"""Whether the data of a run is still what it was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_segtrain.config import RunError
from napari_segtrain.data import Dataset, content_hash
from napari_segtrain.runs import RunFolder

_FILE = "data_hashes.json"
_MOST_NAMED = 5


def note_data(run: RunFolder, dataset: Dataset) -> None:
    """Write a hash of the content of every file of the data to ``data_hashes.json``.

    Layers of a viewer have none: they are painted on while they are trained on.

    Parameters
    ----------
    run
        The run.
    dataset
        What it is trained on.

    Raises
    ------
    RunError
        When the file cannot be written.
    """
    if hashes := _hashes(dataset):
        run.write_json(_FILE, hashes)


def change_of_data(run: RunFolder, dataset: Dataset, *, accepted: bool) -> str:
    """Return a sentence that names what is no longer as it was when the run was trained; empty for nothing.

    Images that were added since change nothing for the run and are not looked at.

    Parameters
    ----------
    run
        The run.
    dataset
        The data as it is now.
    accepted
        Whether the user wants to go on with it.

    Raises
    ------
    RunError
        When something changed and that is not accepted, or the hashes of the run cannot be read.
    """
    if not (run.path / _FILE).is_file():
        return ""
    before: dict[str, str | None] = run.read_as(_FILE, dict)
    now = _hashes(dataset)
    changes = [
        f"{name} {'changed' if name in now else 'is gone'}"
        for name, content in before.items()
        if now.get(name) != content
    ]
    if not changes:
        return ""
    sentence = _in_words(changes)
    if not accepted:
        raise RunError(
            f"{run.path}: {sentence}. Give the data it was trained on (-i), or go on with the data as it is "
            "now (--changed-data)"
        )
    return sentence


def other_images(run: RunFolder, dataset: Dataset, images: Iterable[str]) -> str:
    """Return a sentence that names which images of a run the data does not have; empty for none.

    An image of the same name is another one where its content is, as far as the run knows it: that of layers
    is not known. Labels may have been painted since.

    Parameters
    ----------
    run
        The run.
    dataset
        The data that may be the run's.
    images
        Those of the run that are looked for.

    Raises
    ------
    RunError
        When the hashes of the run cannot be read.
    """
    before: dict[str, str | None] = run.read_as(_FILE, dict) if (run.path / _FILE).is_file() else {}
    changes = []
    for name in images:
        record, said = dataset.records.get(name), f"the image {name}"
        if record is None:
            changes.append(f"{said} is gone")
        elif before.get(said) is not None and name not in dataset.layers:
            path = getattr(record.image, "path", None)
            if path is None or content_hash(Path(path)) != before[said]:
                changes.append(f"{said} changed")
    return _in_words(changes) if changes else ""


def _in_words(changes: Sequence[str]) -> str:
    more = len(changes) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"the data is not what the run was trained on: {'; '.join(changes[:_MOST_NAMED])}{rest}"


def _hashes(dataset: Dataset) -> dict[str, str | None]:
    """Return the hash of each file by what it is to whom: ``"labels 'cells' of im1"``; layers have none."""
    known: dict[Path, str | None] = {}

    def of(source: object) -> str | None:
        path = getattr(source, "path", None)
        if path is None:
            return None
        path = Path(path)
        if path not in known:
            known[path] = content_hash(path)
        return known[path]

    found: dict[str, str | None] = {}
    for name, record in dataset.records.items():
        if name in dataset.layers:
            continue
        found[f"the image {name}"] = of(record.image)
        kinds: dict[str, Mapping[str, object]] = {"labels": record.labels, "mask": record.masks}
        for kind, sources in kinds.items():
            found |= {f"{kind} {target!r} of {name}": of(source) for target, source in sources.items()}
    return found
