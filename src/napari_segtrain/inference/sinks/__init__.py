"""Where predictions go: memory, a Zarr store, TIFF files."""

from .base import Job, Sink, default_chunks
from .memory import MemorySink
from .tiff import TiffSink
from .zarr_store import ZarrSink

__all__ = ["Job", "MemorySink", "Sink", "TiffSink", "ZarrSink", "default_chunks"]
