"""The regions to label next as a Points layer, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...config import DataError
from ...runs import DoubtfulRegion
from .data_spec import TrainedImage
from .placing import Place, place_of
from .view import look_at

_OURS = "napari_segtrain"
_KIND = "label_next"
_REASONS = {
    "unsure": "unsure",
    "outputs": "outputs disagree",
    "mirrors": "mirrored answers differ",
}
_TO_DO, _DONE = "#ffb000", "#9aa0a6"


def show_regions(
    viewer: Any, image: TrainedImage, labels: Any, regions: Sequence[DoubtfulRegion]
) -> Any | None:
    """Add the regions of an image as points; those of an earlier ranking go, done marks with them.

    Parameters
    ----------
    viewer
        The napari viewer.
    image
        The image that was ranked.
    labels
        The layer to paint in, None where there is none.
    regions
        The regions, best first.

    Returns
    -------
    napari.layers.Points or None
        A square of about the region's size at the middle of each (of a volume: in its middle slice), called
        ``<image> · label next``, with the features rank, score, target, reason and done; None where there is
        no region.
    """
    if (old := region_layer(viewer)) is not None:
        viewer.layers.remove(old)
    places = [place_of({image.id: image}, one.record, one.start, one.stop) for one in regions]
    found = [(one, place) for one, place in zip(regions, places, strict=True) if place is not None]
    if not found:
        return None
    selected = set(viewer.layers.selection)
    layer = viewer.add_points(
        np.array([[(side.start + side.stop - 1) / 2 for side in place.box] for _, place in found]),
        name=f"{image.id} · label next",
        features={
            "rank": np.arange(1, len(found) + 1),
            "score": [one.score for one, _ in found],
            "target": [one.target for one, _ in found],
            "reason": [_REASONS.get(one.reason, one.reason) for one, _ in found],
            "done": np.zeros(len(found), bool),
        },
        size=[min(place.size[axis] for axis in image.axes.spatial[-2:]) for _, place in found],
        symbol="square",
        face_color="transparent",
        border_width=0.04,
        metadata={
            _OURS: {"show": _KIND, "places": [place for _, place in found], "labels": labels, "at": -1}
        },
        **image.geometry.kwargs(),
    )
    layer.editable = False
    _mark(layer)
    viewer.layers.selection = {one for one in selected if one in viewer.layers}
    return layer


def region_layer(viewer: Any) -> Any | None:
    """Return the layer of the regions to label next, None where there is none."""
    ours = [layer for layer in viewer.layers if layer.metadata.get(_OURS, {}).get("show") == _KIND]
    return ours[-1] if ours else None


def go(viewer: Any, step: int) -> str:
    """Go to the next region that is not done, or back to the one before, and say which it is.

    Camera and sliders move there, and the layer to paint in is selected. After the last one comes the first.

    Parameters
    ----------
    viewer
        The napari viewer.
    step
        1 or -1.

    Raises
    ------
    DataError
        When there are no regions, or all are done.
    """
    layer = _layer(viewer)
    ours = layer.metadata[_OURS]
    done = layer.features["done"].to_numpy()
    if done.all():
        raise DataError("all regions are done; train on, and find regions anew in the Label next dock")
    at, count = ours["at"], len(done)
    at = (at if at >= 0 or step > 0 else 0) + step
    while done[at % count]:
        at += step
    ours["at"] = at % count
    return _look(viewer, layer)


def mark_done(viewer: Any) -> str:
    """Mark the region that was gone to as done, or not done where it is; say so.

    Raises
    ------
    DataError
        When there are no regions, or none was gone to.
    """
    layer = _layer(viewer)
    at = layer.metadata[_OURS]["at"]
    if at < 0:
        raise DataError("no region was gone to yet; go to the next one first")
    features = layer.features.copy()
    features.loc[at, "done"] = not features.loc[at, "done"]
    layer.features = features
    _mark(layer)
    left = int((~features["done"].to_numpy()).sum())
    return f"Region {at + 1} is {'done' if features.loc[at, 'done'] else 'to do again'}; {left} left to do"


def _layer(viewer: Any) -> Any:
    layer = region_layer(viewer)
    if layer is None:
        raise DataError("there are no regions to label; find some in the Label next dock")
    return layer


def _look(viewer: Any, layer: Any) -> str:
    ours, row = layer.metadata[_OURS], layer.features.iloc[layer.metadata[_OURS]["at"]]
    place: Place = ours["places"][ours["at"]]
    layer.selected_data = {ours["at"]}
    look_at(viewer, place)
    labels, into = ours["labels"], ""
    if labels in viewer.layers:
        viewer.layers.selection.active = labels
        into = f"; paint in {labels.name!r}"
    where = ", ".join(f"{side.start}:{side.stop}" for side in place.box)
    count = len(layer.features)
    return (
        f"Region {row['rank']} of {count}: {row['reason']} ({row['target']}, score {row['score']:.2f}) at "
        f"[{where}]{into}"
    )


def _mark(layer: Any) -> None:
    """Show what is done: in words, by another symbol, and by another colour."""
    done = layer.features["done"].to_numpy()
    words = layer.features[["rank", "reason"]].itertuples(index=False)
    layer.text = {
        "string": [
            # One word: the next region may be close by. The features, and the dock, say it in full.
            f"{rank} ✓ done" if finished else f"{rank} {reason.split()[0]}"
            for (rank, reason), finished in zip(words, done, strict=True)
        ],
        "size": 8,
        "color": [_DONE if finished else _TO_DO for finished in done],
        "anchor": "upper_left",
    }
    layer.symbol = ["cross" if finished else "square" for finished in done]
    layer.border_color = [_DONE if finished else _TO_DO for finished in done]
