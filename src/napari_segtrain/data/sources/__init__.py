"""Where images, labels and masks are read from: files, stores, open layers, arrays."""

from .base import Regions, Source, full_region
from .opening import open_source, open_sources
from .table import FORMATS, Format, is_store

__all__ = ["FORMATS", "Format", "Regions", "Source", "full_region", "is_store", "open_source", "open_sources"]
