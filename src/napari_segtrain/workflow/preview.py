"""Live previews: what the network predicts while it learns, block by block, where the user looks first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from napari_segtrain.config import InferenceConfig
from napari_segtrain.data import Dataset, Record
from napari_segtrain.inference import MemorySink, Predictor
from napari_segtrain.runs import Control, Emit, PreviewHint, PreviewReady, Warned
from napari_segtrain.runs.scratch import Scratch, open_memmap
from napari_segtrain.training import Experiment, SegmentationModule

MOST_BYTES = 2 * 2**30
"""Images whose previews would take more than this on the disk get none."""


class _Uncompiled(nn.Module):
    """A network as it was before compiling: the compiler would translate it again for single tiles."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        """Return what the network's own forward returns."""
        return self.network.forward(x)


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
        )
        self._predictor.with_parts = True
        self._refused: set[str] = set()
        self._view: PreviewHint | None = None
        self._work: Iterator[tuple[ImageLayer, tuple[slice, ...]]] = iter(())

    def __call__(self, module: SegmentationModule, epoch: int, step: int) -> None:
        """Predict the next block: first where the user looks, then on; over and over."""
        hint = self._control.hint
        if hint != self._view:
            self._view, self._work = hint, iter(())
        block = next(self._work, None)
        if block is None:
            self._work = self._blocks(hint)
            block = next(self._work, None)
        if block is not None:
            self._predict(*block, epoch)

    def _blocks(self, hint: PreviewHint | None) -> Iterator[tuple[ImageLayer, tuple[slice, ...]]]:
        layers = list(self._layers.values())
        if hint is not None and hint.record in self._layers:
            layers = [self._layers[hint.record]]
        for layer in layers[:1]:
            if not self._fits(layer):
                continue
            grid = self._predictor.grid(layer.shape)
            near = _centre(layer, hint)
            tiles = sorted((tile.paste for tile in grid), key=lambda paste: _distance(paste, near))
            yield from ((layer, paste) for paste in tiles)

    def _fits(self, layer: ImageLayer) -> bool:
        size = 4 * math.prod(layer.shape) * sum(head.out_channels for head in self._predictor.heads)
        if size > MOST_BYTES and layer.id not in self._refused:
            self._refused.add(layer.id)
            self._emit(
                Warned(
                    message=f"{layer.id!r} is too large for a live preview ({size / 2**30:.1f} GiB); "
                    "training is not affected, and a prediction of any size can be written afterwards"
                )
            )
        return size <= MOST_BYTES

    def _predict(self, layer: ImageLayer, block: tuple[slice, ...], epoch: int) -> None:
        record, inside = layer.records[0], block
        if layer.stacked:
            record, inside = layer.records[block[0].start], block[1:]
        sink = MemorySink(keep_parts=True)
        self._predictor.predict_source(record.image, sink, region=inside)
        for name, values in sink.arrays.items():
            spec, array = self._array(layer, name, values)
            several = len(values) > 1
            place = (slice(None), *block) if several else block
            array[place] = values.reshape(array[place].shape)
            self._emit(
                PreviewReady(
                    record=layer.id,
                    head=name,
                    array=spec,
                    start=tuple(s.start for s in block),
                    stop=tuple(s.stop for s in block),
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
            shape = (len(values), *layer.shape) if several else layer.shape
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


def _centre(layer: ImageLayer, hint: PreviewHint | None) -> tuple[float, ...]:
    if hint is not None and len(hint.start) == len(layer.shape):
        return tuple((a + b) / 2 for a, b in zip(hint.start, hint.stop, strict=True))
    return tuple(size / 2 for size in layer.shape)


def _distance(paste: Sequence[slice], near: Sequence[float]) -> float:
    """Return how far a block is from a point, 0 when it holds it."""
    total = 0.0
    for part, point in zip(paste, near, strict=True):
        outside = max(part.start - point, point - part.stop, 0.0)
        # Blocks that hold the point, or lie as far from it, come in the order of their centres.
        total += outside**2 + 1e-6 * ((part.start + part.stop) / 2 - point) ** 2
    return total
