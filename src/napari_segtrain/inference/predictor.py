"""From a checkpoint alone to predictions of anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from napari_segtrain.config import (
    CancelledError,
    ConfigError,
    DataError,
    InferenceConfig,
    RunError,
    wrong_axes,
)
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.sources import Source
from napari_segtrain.network import NetworkPlan, resolve_hardware, round_up
from napari_segtrain.targets import Head

from .activation import stacked_channels
from .blending import tile_weights
from .checkpoint import Trained, load_trained
from .codecs import few_chunks_at_a_time
from .images import as_source, check_source, name_of
from .layout import MEMORY_BUDGET, BlockLayout, choose_block
from .moving import (
    bytes_per_voxel,
    compile_if_worth,
    device_explained,
    evaluating,
    prepare_image,
    scaled,
    write_block,
)
from .objects import write_instances
from .outputs import Output, OutputPlan, plan_outputs, raw_outputs
from .provenance import Made, weights_digest
from .regridding import Regridded
from .resampling import Resampled, covering, on_grid_of
from .sinks import Job, MemorySink, SharedZarrSink, Sink, ZarrSink
from .stream import BlockStream, CancelCheck, Outcome, ProgressCallback, StreamResult
from .tile_model import Least, NetworkTiles
from .tiling import Slices, TileGrid

logger = logging.getLogger(__name__)

_INSTANCE_SHARE = 0.1
_PREDICTING_SHARE = 0.9


Spread = Callable[
    [BlockLayout, npt.NDArray[np.bool_], ProgressCallback | None, CancelCheck | None], StreamResult
]
"""Lets other processes predict the pending blocks (bool, `layout.counts`) of an output that is open."""


class PredictionCancelledError(RunError, CancelledError):
    """The user ended a prediction whose result was to be returned."""


class Predictor:
    """Predicts images with a trained network.

    Attributes
    ----------
    network
        In eval mode while it predicts.
    plan, heads, normalisation
        What the network is, what it outputs, and how images are brought to the range it knows.
    inference
        Tiles, blending, what is written.
    dataset
        How the run read its data: channel axis, resolution level, targets.
    device
        Where it predicts.
    spacing, unit
        Size of a voxel in the training data, None when not known.
    values
        Label value of every class, by target.
    messages
        Sentences for the user, such as that there is no GPU.
    memory
        Bytes that open blocks may take, besides the network's own memory. Less than a block of one chunk
        is not possible.
    with_parts
        Write what instances can be made of instead of separating them, see `plan_outputs`; for a sink that
        keeps it.
    say
        Told, in words, what is done about memory that ran out; by default that is one of the `messages`.
    """

    def __init__(
        self, trained: Trained, device: torch.device, inference: InferenceConfig | None = None
    ) -> None:
        self.network = trained.network
        self.plan = trained.plan
        self.heads = trained.heads
        self.normalisation = trained.normalisation
        self.inference = inference if inference is not None else trained.inference
        self.dataset = trained.dataset
        self.device = device
        self.spacing = trained.spacing
        self.unit = trained.unit
        self.values = trained.values
        self.messages: list[str] = []
        self.memory = MEMORY_BUDGET
        self.with_parts = False
        self._source = trained.source
        self._may_compile = self._from_checkpoint = False
        self._digest: str | None = None
        self._least: dict[tuple[int, ...], Least] = {}
        self.say: Callable[[str], None] = self._note

    @classmethod
    def from_checkpoint(
        cls, run_or_file: str | Path, device: str = "auto", inference: InferenceConfig | None = None
    ) -> Self:
        """Rebuild the network from a checkpoint; nothing else of the run is needed.

        Parameters
        ----------
        run_or_file
            A checkpoint file, a run folder, or a project with one run.
        device
            Where to predict, see `resolve_hardware`; a device that is absent is replaced by the processor.
        inference
            None takes the settings that the run was configured with. Its `checkpoint` says whether the
            best or the last weights of a run are taken.

        Raises
        ------
        RunError
            When there is no checkpoint, or it is damaged.
        """
        hardware = resolve_hardware(device)
        trained = load_trained(run_or_file, inference.checkpoint if inference is not None else None)
        trained.network.to(hardware.device).eval()
        predictor = cls(trained, hardware.device, inference)
        predictor.messages += hardware.messages
        predictor._may_compile = predictor._from_checkpoint = True
        return predictor

    @classmethod
    def from_network(
        cls,
        network: nn.Module,
        plan: NetworkPlan,
        heads: Sequence[Head],
        normalisation: Normalisation,
        inference: InferenceConfig | None = None,
        device: torch.device | str = "cpu",
        values: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Self:
        """Wrap a network that is there already, such as one in training; its mode is restored after use.

        Parameters
        ----------
        network
            On `device`.
        plan, heads, normalisation, inference, values
            See the attributes.
        device
            Where the network is.
        """
        trained = Trained(
            network,
            plan,
            tuple(heads),
            normalisation,
            inference or InferenceConfig(),
            values=dict(values or {}),
        )
        return cls(trained, torch.device(device))

    @property
    def source(self) -> Mapping[str, Any]:
        """Where the weights come from: ``path``, ``run``, ``epoch``, ``timestamp``; empty without a file."""
        return self._source

    @property
    def checkpoint(self) -> Path | None:
        """The file that the network was loaded from; None where it was not."""
        return Path(self._source["path"]) if self._from_checkpoint else None

    def tile_size(self) -> tuple[int, ...]:
        """Return the size of tiles: as configured, rounded up to what the network takes, or the patch's."""
        wanted = self.inference.tile_size
        if wanted is None:
            return round_up(self.plan.patch_size, self.plan)
        fault = wrong_axes("inference_config.tile_size", wanted, self.plan.ndim, "the network")
        if fault:
            raise ConfigError(fault)
        return round_up(wanted, self.plan)

    def grid(self, shape: Sequence[int], region: Slices | None = None) -> TileGrid:
        """Return the tiles of an image, or those of it that touch a region; planes of a stack singly.

        A tile larger than patch and image would hold nothing but padding besides, and is made smaller.
        """
        stack = len(shape) - self.plan.ndim
        patch = self.plan.patch_size
        needed = round_up(tuple(map(max, shape[stack:], patch)), self.plan)
        tile = (1,) * stack + tuple(map(min, self.tile_size(), needed))
        overlap = (0.0,) * stack + (self.inference.overlap,) * self.plan.ndim
        try:
            return TileGrid(tuple(shape), tile, overlap, region)
        except ValueError as error:
            raise DataError(f"this part of the image cannot be predicted: {error}") from None

    def predict_array(
        self,
        image: Any,
        spacing: Sequence[float] | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelCheck | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the predictions of all chosen outputs after their activation.

        Parameters
        ----------
        image
            See `as_source`.
        spacing
            Size of a voxel, (z,) y, x.
        progress, cancel
            See `predict_source`.

        Returns
        -------
        dict
            Output name to `(C, *spatial)` float32: probabilities, values in the target's own units, unit
            vectors with components in array order. The parts of instance targets are among them.

        Raises
        ------
        PredictionCancelledError
            When `cancel` returned True.
        """
        sink = MemorySink()
        plan = raw_outputs(self.heads, self.inference.targets)
        result = self._run(as_source(image, self.plan, spacing), sink, plan, None, progress, cancel)
        if result.outcome is Outcome.CANCELLED:
            raise PredictionCancelledError("the prediction was cancelled; there is no result")
        return sink.arrays

    def predict_source(
        self,
        source: Source,
        sink: Sink,
        region: Slices | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelCheck | None = None,
        spread: Spread | None = None,
    ) -> StreamResult:
        """Predict an image of any size in bounded memory, in the form that `inference.output` asks for.

        Parameters
        ----------
        source
            The image; a network for planes takes stacks of them too.
        sink
            Where finished blocks go. A sink that has some already gets only the others.
        region
            A part of the image, one slice a spatial axis. Values are the same as in the prediction of
            the whole image.
        progress
            Called with the finished share and the seconds that are left.
        cancel
            Asked before every batch of tiles. True ends the prediction; the sink keeps what it can
            continue with.
        spread
            Predicts the pending blocks in this one's place, by `predict_blocks` in other processes.

        Raises
        ------
        ConfigError
            When the image has to be resampled, and `spread` is given.
        DataError
            When the image does not fit the network, or holds values that are not numbers.
        RunError
            When the sink cannot write, or a tile does not fit into memory.
        """
        plan = plan_outputs(self.heads, self.inference, self.values, with_parts=self.with_parts)
        self.messages += plan.notes
        return self._run(source, sink, plan, region, progress, cancel, spread)

    def predict_blocks(
        self,
        source: Source,
        sink: SharedZarrSink,
        region: Slices,
        block: tuple[int, ...],
        numbers: Sequence[int],
    ) -> StreamResult:
        """Predict some blocks of an output that another process has opened; see `Spread`.

        Parameters
        ----------
        source
            The image.
        sink
            The output.
        region, block
            Part of the image, and size of the blocks, as the other process has them.
        numbers
            Running numbers of the blocks.
        """
        plan = plan_outputs(self.heads, self.inference, self.values)
        sink.join(plan.outputs)
        layout = BlockLayout(self.grid(source.shape, region), block)
        pending = np.zeros(layout.counts, np.bool_)
        pending.reshape(-1)[list(numbers)] = True
        with few_chunks_at_a_time():
            return self._predict(source, sink, layout, plan, pending, None, None)

    def _run(
        self,
        source: Source,
        sink: Sink,
        plan: OutputPlan,
        region: Slices | None,
        progress: ProgressCallback | None,
        cancel: CancelCheck | None,
        spread: Spread | None = None,
    ) -> StreamResult:
        unusual = check_source(source, self.plan, self.spacing, self.unit)
        other = on_grid_of(source, self.spacing, self.unit) if self.inference.resample else None
        if other is not None and spread is not None:
            raise ConfigError(
                "inference_config.strategy distributed predicts images on their own grid: leave resample "
                "out, or choose another strategy"
            )
        if other is None:
            self.messages += [message for message in unusual if message not in self.messages]
        grid = self.grid(source.shape, region)
        chunks = sink.chunks(grid.size, self.plan.ndim)
        block = choose_block(grid, chunks, bytes_per_voxel(source, plan), self.memory)
        block = sink.open(self._job(source, grid, plan), plan.outputs, block)
        if sink.complete:
            self.messages.append(
                f"{sink.title} is complete already, made with these settings; nothing was predicted"
            )
            return StreamResult(Outcome.COMPLETED, tiles=0, skipped=0, blocks=0, seconds=0.0)
        layout = BlockLayout(grid, block)
        pending = sink.pending(layout)
        if not pending.all():
            finished = int(pending.size - pending.sum())
            self.messages.append(
                f"{sink.title}: {finished} of {pending.size} blocks are finished, it goes on with the next"
            )
        share = 1.0 - _INSTANCE_SHARE if plan.instances else 1.0
        completed = False
        try:
            with few_chunks_at_a_time():
                if spread is not None:
                    result = spread(layout, pending, scaled(progress, share), cancel)
                elif other is None:
                    result = self._predict(
                        source, sink, layout, plan, pending, scaled(progress, share), cancel
                    )
                else:
                    result = self._predict_on(
                        other, sink, layout, plan, pending, scaled(progress, share), cancel
                    )
            completed = result.outcome is Outcome.COMPLETED
            if completed and plan.instances:
                completed = write_instances(
                    sink,
                    plan,
                    layout,
                    self.plan.ndim,
                    self.inference,
                    scaled(progress, -_INSTANCE_SHARE),
                    cancel,
                    source.spacing,
                )
        finally:
            sink.close(completed)
        return result if completed else result.cancelled()

    def _predict(
        self,
        source: Source,
        sink: Sink,
        layout: BlockLayout,
        plan: OutputPlan,
        pending: npt.NDArray[np.bool_],
        progress: ProgressCallback | None,
        cancel: CancelCheck | None,
    ) -> StreamResult:
        """Predict the pending blocks of a sink that is open."""
        grid = layout.grid
        with evaluating(self.network), torch.inference_mode(), device_explained(grid.tile, self.device):
            passes = len(grid) * (2**self.plan.ndim if self.inference.mirroring else 1)
            if self._may_compile and compile_if_worth(
                self.network, self.plan.patch_size, self.device, grid.tile, passes, self.inference.batch_size
            ):
                self._may_compile = False
            model = NetworkTiles(
                self.network,
                plan.heads,
                self.device,
                in_channels=self.plan.in_channels,
                tile=grid.tile,
                ndim=self.plan.ndim,
                weights=tile_weights(grid.tile, self.inference.blending),
                batch_size=self.inference.batch_size,
                mirroring=self.inference.mirroring,
                half={"standard": False, "mixed": True}.get(self.inference.strategy),
                divisor=self.plan.divisor,
                least=self._least.get(grid.tile),
                say=self.say,
            )
            stream = BlockStream(
                layout,
                self.inference.blending,
                read=source.read,
                prepare=partial(prepare_image, self.normalisation, name_of(source)),
                model=model,
                write=partial(write_block, sink, plan),
                skip_empty=self.inference.skip_empty,
                folder=sink.scratch,
            )
            try:
                return stream.run(pending, progress, cancel)
            finally:
                if model.least is not None:
                    self._least[grid.tile] = model.least

    def _note(self, sentence: str) -> None:
        logger.warning("%s", sentence)
        if sentence not in self.messages:
            self.messages.append(sentence)

    def _predict_on(
        self,
        other: Resampled,
        sink: Sink,
        layout: BlockLayout,
        plan: OutputPlan,
        pending: npt.NDArray[np.bool_],
        progress: ProgressCallback | None,
        cancel: CancelCheck | None,
    ) -> StreamResult:
        """Predict on the grid of the training data, and bring what comes out to that of the sink.

        Probabilities, distances, vectors and tensors are kept as they are summed and interpolated linearly;
        only then are they made labels, unit vectors, bytes.
        """
        size, bounds = layout.grid.shape, layout.grid.bounds
        part = covering(bounds, size, other.shape)
        channels = sum(map(stacked_channels, plan.heads))
        stacked = OutputPlan(plan.heads, (Output("stacked", "numbers", channels, slice(0, channels)),), {})
        between: Sink = MemorySink()
        if sink.scratch is not None:
            between = ZarrSink(sink.scratch / "stacked.zarr", levels=False)
        grid = self.grid(other.shape, part)
        budget = bytes_per_voxel(other, stacked)
        block = choose_block(grid, between.chunks(grid.size, self.plan.ndim), budget, self.memory)
        block = between.open(self._job(other, grid, stacked), stacked.outputs, block)
        first = BlockLayout(grid, block)
        waiting = between.pending(first)
        result = StreamResult(Outcome.COMPLETED, 0, 0, 0, 0.0)
        if not between.complete:
            share = scaled(progress, _PREDICTING_SHARE)
            result = self._predict(other, between, first, stacked, waiting, share, cancel)
            between.close(result.outcome is Outcome.COMPLETED)
        if result.outcome is not Outcome.COMPLETED:
            return result

        report = scaled(progress, _PREDICTING_SHARE - 1.0)
        values = Regridded(between, "stacked", channels, other.shape, part)
        done = values.write_to(sink, plan, layout, pending, report, cancel)
        return result if done else result.cancelled()

    def _job(self, source: Source, grid: TileGrid, plan: OutputPlan) -> Job:
        return Made(
            self._source,
            self._weights,
            self.normalisation,
            self.inference,
            self.plan.ndim,
            str(self.device),
            [output.name for output in plan.kept],
        ).job(source, grid)

    def _weights(self) -> str:
        # Those of a network in training change.
        if self._digest is None or not self._from_checkpoint:
            self._digest = weights_digest(self.network)
        return self._digest
