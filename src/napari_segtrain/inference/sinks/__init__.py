"""Where predictions go: memory, a Zarr store, TIFF files."""

from .base import Job, Sink, default_chunks, failures_explained
from .memory import MemorySink
from .tiff import TiffSink, write_tiff
from .zarr_store import SharedZarrSink, ZarrSink

__all__ = [
    "Job",
    "MemorySink",
    "SharedZarrSink",
    "Sink",
    "TiffSink",
    "ZarrSink",
    "default_chunks",
    "failures_explained",
    "write_tiff",
]
