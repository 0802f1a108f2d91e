"""Images, labels and masks: sources, data sets, split, patch index, normalisation, augmentation, batches."""

from .check import CheckReport
from .dataset import Dataset
from .folder import open_folder, open_images
from .layers import open_layers
from .opening import open_dataset
from .records import PARTS, Part, Record, Region, Split
from .sources import FORMATS, Format, Source, full_region, open_source, open_sources

__all__ = [
    "FORMATS",
    "PARTS",
    "CheckReport",
    "Dataset",
    "Format",
    "Part",
    "Record",
    "Region",
    "Source",
    "Split",
    "full_region",
    "open_dataset",
    "open_folder",
    "open_images",
    "open_layers",
    "open_source",
    "open_sources",
]
