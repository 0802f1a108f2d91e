"""Names: of label files, which tell image and target, and of images in sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def match_names(
    names: Sequence[str], ids: Collection[str], known: Iterable[str] = (), *, exact_first: bool = False
) -> dict[str, tuple[str, str] | None]:
    """Return the image and the target of every name of the form ``<id>_<target>`` or ``<id>``.

    Both may contain underscores, so that a name can be read in several ways. A target that is known
    wins, then one that some other name allows no other reading of, then the longest id.

    Parameters
    ----------
    names
        Names of label or mask files without their ending.
    ids
        Names of the images.
    known
        Names of targets that are expected.
    exact_first
        Whether a name that is an id belongs to that image as a whole even if it could be read as
        another image's target; as masks do, which often have no target's name.

    Returns
    -------
    dict
        (id, target) by name; the target is empty for a name that is an id; None where no id fits.
    """
    readings = {name: _readings(name, ids, exact_first) for name in names}
    expected = set(known)
    sure = expected | {found[0][1] for found in readings.values() if len(found) == 1 and found[0][1]}
    chosen: dict[str, tuple[str, str] | None] = {}
    for name, found in readings.items():
        preferred = [
            *(r for r in found if exact_first and not r[1]),
            *(r for r in found if r[1] in expected),
            *(r for r in found if r[1] in sure),
            *found,
        ]
        chosen[name] = preferred[0] if preferred else None
    return chosen


def _readings(name: str, ids: Collection[str], exact_first: bool) -> list[tuple[str, str]]:
    """Return every (id, target) that a name can mean, longest id first, an id alone last."""
    cuts = [k for k in range(len(name) - 1, 0, -1) if name[k] == "_"]
    found = [(name[:k], name[k + 1 :]) for k in cuts if name[:k] in ids and name[k + 1 :]]
    whole = [(name, "")] if name in ids else []
    return whole + found if exact_first else found + whole


def first_names(names: Sequence[str], most: int = 5) -> str:
    """Return names in a sentence: of more than `most`, the first, and how many there are besides."""
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
