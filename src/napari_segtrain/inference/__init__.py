"""Prediction: tiles on one grid, blended in bounded memory, objects separated.

Importing it imports no torch: the viewer separates objects too, in a process that has none.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy

if TYPE_CHECKING:
    from .checkpoint import Trained, load_trained
    from .codecs import few_threads_for_chunks
    from .images import as_source, check_source
    from .instances import separate_instances
    from .kept_parts import note_parts
    from .outputs import Output, OutputPlan, instance_parts, plan_outputs
    from .predictor import PredictionCancelledError, Predictor, Spread
    from .regions import Cells, CellSink, Doubtful, OpenVoxels, rank_regions
    from .sinks import (
        Job,
        MemorySink,
        SharedZarrSink,
        Sink,
        TiffSink,
        ZarrSink,
        failures_explained,
        write_tiff,
    )
    from .stream import Outcome, StreamResult
    from .tiling import Tile, TileGrid
    from .uncertainty import REASONS, WORDS, Doubt, Measure, Reason

__all__ = [
    "REASONS",
    "WORDS",
    "CellSink",
    "Cells",
    "Doubt",
    "Doubtful",
    "Job",
    "Measure",
    "MemorySink",
    "OpenVoxels",
    "Outcome",
    "Output",
    "OutputPlan",
    "PredictionCancelledError",
    "Predictor",
    "Reason",
    "SharedZarrSink",
    "Sink",
    "Spread",
    "StreamResult",
    "TiffSink",
    "Tile",
    "TileGrid",
    "Trained",
    "ZarrSink",
    "as_source",
    "check_source",
    "failures_explained",
    "few_threads_for_chunks",
    "instance_parts",
    "load_trained",
    "note_parts",
    "plan_outputs",
    "rank_regions",
    "separate_instances",
    "write_tiff",
]

_FILES = {
    "REASONS": "uncertainty",
    "WORDS": "uncertainty",
    "CellSink": "regions",
    "Cells": "regions",
    "Doubt": "uncertainty",
    "Doubtful": "regions",
    "Measure": "uncertainty",
    "OpenVoxels": "regions",
    "Reason": "uncertainty",
    "rank_regions": "regions",
    "Job": "sinks",
    "MemorySink": "sinks",
    "Outcome": "stream",
    "Output": "outputs",
    "OutputPlan": "outputs",
    "PredictionCancelledError": "predictor",
    "Predictor": "predictor",
    "SharedZarrSink": "sinks",
    "Sink": "sinks",
    "Spread": "predictor",
    "StreamResult": "stream",
    "TiffSink": "sinks",
    "Tile": "tiling",
    "TileGrid": "tiling",
    "Trained": "checkpoint",
    "ZarrSink": "sinks",
    "as_source": "images",
    "check_source": "images",
    "failures_explained": "sinks",
    "few_threads_for_chunks": "codecs",
    "instance_parts": "outputs",
    "load_trained": "checkpoint",
    "note_parts": "kept_parts",
    "plan_outputs": "outputs",
    "separate_instances": "instances",
    "write_tiff": "sinks",
}

__getattr__ = lazy(__name__, _FILES)
