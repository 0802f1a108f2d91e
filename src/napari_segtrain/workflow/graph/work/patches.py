"""Batches that know where their patches lie."""

from __future__ import annotations

from dataclasses import dataclass

from napari_segtrain.training import Batch

from ..context import Context
from .inference import Place
from .setting import Loader


@dataclass(frozen=True, eq=False)
class PlacedBatch(Batch):
    """A batch of a loader.

    Attributes
    ----------
    place
        Where the first of its patches lies.
    """

    place: Place | None = None


def placed(batch: Batch, loader: Loader, context: Context) -> PlacedBatch:
    """Return the batch of this index of a loader's epoch, with the place of its first patch.

    Parameters
    ----------
    batch
        The batch.
    loader
        What it was taken from, in the same epoch.
    context
        The node that took it.
    """
    first = loader.specs(batch.index)[0]
    record = loader.dataset.records[first.record]
    link = context.graph.link_into(context.node.name, "dataloader")
    node = "" if link is None else link.source
    place = Place(node, first.record, tuple(first.start), record.spacing, record.image.unit)
    return PlacedBatch(batch.tensors, batch.index, place)
