"""Prediction: tiles on one grid, blended in bounded memory, objects separated."""

from .checkpoint import Trained, load_trained
from .codecs import few_threads_for_chunks
from .images import as_source, check_source
from .instances import separate_instances
from .outputs import Output, OutputPlan, instance_parts, plan_outputs
from .predictor import PredictionCancelledError, Predictor, Spread
from .sinks import Job, MemorySink, SharedZarrSink, Sink, TiffSink, ZarrSink, failures_explained, write_tiff
from .stream import Outcome, StreamResult
from .tiling import Tile, TileGrid

__all__ = [
    "Job",
    "MemorySink",
    "Outcome",
    "Output",
    "OutputPlan",
    "PredictionCancelledError",
    "Predictor",
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
    "plan_outputs",
    "separate_instances",
    "write_tiff",
]
