"""Live previews: what the network predicts while it learns, block by block, where the user looks first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from napari_segtrain.config import InferenceConfig
from napari_segtrain.data import Dataset, Record
from napari_segtrain.data.sources import Regions, Source
from napari_segtrain.inference import MemorySink, Predictor, plan_outputs
from napari_segtrain.inference.checkpoint import label_values
from napari_segtrain.runs import Control, Emit, PreviewReady, Warned
from napari_segtrain.runs.scratch import Scratch, open_memmap
from napari_segtrain.training import Experiment, SegmentationModule

from .walk import Block, Walk

MOST_BYTES = 2 * 2**30
"""Images whose previews would take more than this on the disk are shown where the user looks alone."""


class _Uncompiled(nn.Module):
    """A network as it was before compiling: the compiler would translate it again for single tiles."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        """Return what the network's own forward returns."""
        return self.network.forward(x)


class _Window:
    """A part of an image that is an image by itself: one of a tile's size is one pass of the network."""

    def __init__(self, source: Source, window: tuple[slice, ...]) -> None:
        self._source = source
        self._window = window
        self.shape = tuple(part.stop - part.start for part in window)
        self.channels, self.dtype = source.channels, source.dtype
        self.spacing, self.unit = source.spacing, source.unit
        self.chunks = self.shape

    def read(self, region: Regions) -> npt.NDArray[Any]:
        """Return a part of it, channels first."""
        inner = zip(self._window, region, strict=True)
        return self._source.read(tuple(slice(w.start + r.start, w.start + r.stop) for w, r in inner))


@dataclass(frozen=True)
class ImageLayer:
    """An image as the viewer has it: one record, or the planes of a stack."""

    id: str
    records: tuple[Record, ...]
    stacked: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of planes, where they are a stack, and spatial shape."""
        spatial = self.records[0].shape
        return (len(self.records), *spatial) if self.stacked else spatial

    def walk(self, tile: tuple[int, ...], *, outward: bool) -> Walk:
        """Return the way through it in blocks; a neighbouring plane is as near as a neighbouring block."""
        spacing = self.records[0].spacing
        if not self.stacked:
            return Walk(self.shape, tile, spacing, outward=outward)
        apart = float(np.mean(np.multiply(tile, spacing)))
        return Walk(self.shape, (1, *tile), (apart, *spacing), outward=outward)


class LivePreview:
    """Predicts one block after the other and announces each; called by the training now and then.

    Parameters
    ----------
    experiment
        Whose network predicts.
    dataset
        Whose images are predicted.
    emit
        Told `PreviewReady` for each output of a block.
    control
        Says where the user looks.
    """

    def __init__(self, experiment: Experiment, dataset: Dataset, emit: Emit, control: Control) -> None:
        resolved = experiment.resolved
        if resolved.normalisation is None:
            raise ValueError("a preview needs the fitted normalisation of a prepared experiment")
        self._emit = emit
        self._control = control
        self._layers = image_layers(dataset)
        self._scratch = Scratch(experiment.run.scratch / "preview")
        self._arrays: dict[tuple[str, str], tuple[dict[str, Any], npt.NDArray[Any]]] = {}
        self._predictor = Predictor.from_network(
            _Uncompiled(experiment.module.network),
            resolved.plan,
            resolved.heads,
            resolved.normalisation,
            InferenceConfig(overlap=0.0, blending="constant", output="labels", skip_empty=False),
            resolved.device,
            label_values(experiment.config, resolved.facts, resolved.heads),
        )
        self._predictor.with_parts = True
        self._predictor.say = lambda sentence: emit(Warned(message=f"live preview: {sentence}"))
        self._walks: dict[str, Walk] = {}
        self._parts: set[str] = set()

    def __call__(self, module: SegmentationModule, epoch: int, step: int) -> None:
        """Predict the next block: first where the user looks, then on; over and over."""
        hint = self._control.hint
        looked_at = self._layers.get(hint.record) if hint is not None else None
        layer = looked_at or next(iter(self._layers.values()))
        if layer.id not in self._walks:
            self._walks[layer.id] = layer.walk(self._predictor.tile_size(), outward=self._fits(layer))
        walk = self._walks[layer.id]
        if hint is not None and looked_at is not None and len(hint.start) == len(layer.shape):
            walk.look((hint.start, hint.stop))
        self._predict(layer, walk.next(), epoch)

    def _fits(self, layer: ImageLayer) -> bool:
        """Return whether its preview may be as large as the image; say it where not."""
        made = self._predictor
        outputs = plan_outputs(made.heads, made.inference, made.values, with_parts=made.with_parts).outputs
        size = math.prod(layer.shape) * sum(output.channels * output.dtype.itemsize for output in outputs)
        if size > MOST_BYTES:
            self._parts.add(layer.id)
            self._emit(
                Warned(
                    message=f"{layer.id!r} is too large for a live preview of all of it "
                    f"({size / 2**30:.1f} GiB): what is in the middle of the view is shown. Training is not "
                    "affected, and a prediction of any size can be written afterwards"
                )
            )
        return size <= MOST_BYTES

    def _predict(self, layer: ImageLayer, block: Block, epoch: int) -> None:
        record, window = layer.records[0], block.window
        if layer.stacked:
            record, window = layer.records[window[0].start], window[1:]
        sink = MemorySink(keep_parts=True)
        self._predictor.predict_source(_Window(record.image, window), sink)
        for name, values in sink.arrays.items():
            spec, array = self._array(layer, name, values)
            shown = values.reshape(len(values), *(part.stop - part.start for part in block.window))
            crop = zip(block.paste, block.window, strict=True)
            shown = shown[(slice(None), *(slice(p.start - w.start, p.stop - w.start) for p, w in crop))]
            place = (slice(None),) * len(block.paste) if layer.id in self._parts else block.paste
            (array if len(values) > 1 else array[np.newaxis])[(slice(None), *place)] = shown
            self._emit(
                PreviewReady(
                    record=layer.id,
                    head=name,
                    array=spec,
                    start=tuple(s.start for s in block.paste),
                    stop=tuple(s.stop for s in block.paste),
                    epoch=epoch,
                )
            )

    def _array(
        self, layer: ImageLayer, name: str, values: npt.NDArray[Any]
    ) -> tuple[dict[str, Any], npt.NDArray[Any]]:
        key = (layer.id, name)
        if key not in self._arrays:
            file = f"{len(self._arrays)}"
            several = len(values) > 1
            size = layer.shape
            if layer.id in self._parts:
                size = (1,) * layer.stacked + values.shape[1:]
            shape = (len(values), *size) if several else size
            spec = self._scratch.reserve(file, shape, values.dtype, 0 if several else None)
            self._arrays[key] = spec, open_memmap(spec, writable=True)
        return self._arrays[key]


def image_layers(dataset: Dataset) -> dict[str, ImageLayer]:
    """Return the images that have labels, by the name of the layer or file that they are of."""
    labelled = {record.group or record.id for record in dataset.labelled_records()}
    groups: dict[str, list[Record]] = {name: [] for name in labelled}
    for record in dataset.records.values():
        if (name := record.group or record.id) in labelled:
            groups[name].append(record)
    return {n: ImageLayer(n, tuple(found), stacked=found[0].id != n) for n, found in groups.items()}
