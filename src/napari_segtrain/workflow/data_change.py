"""Whether the data of a run is still what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
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
    more = len(changes) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    sentence = f"the data is not what the run was trained on: {'; '.join(changes[:_MOST_NAMED])}{rest}"
    if not accepted:
        raise RunError(
            f"{run.path}: {sentence}. Give the data it was trained on (-i), or go on with the data as it is "
            "now (--changed-data)"
        )
    return sentence


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
