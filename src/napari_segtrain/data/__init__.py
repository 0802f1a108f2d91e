"""Images, labels and masks: sources, data sets, split, patch index, normalisation, augmentation, batches."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy
from .check import CheckReport, check_dataset
from .dataset import Dataset
from .facts import gather_facts
from .fingerprint import content_hash
from .folder import SPLIT_FILE, find_images, open_folder
from .folds import make_folds
from .layers import open_layers
from .leakage import find_leakage
from .opening import open_dataset
from .records import PARTS, Part, Record, Region, Split
from .sources import FORMATS, Format, Source, full_region, is_store, open_source, open_sources
from .split import make_split
from .split_words import describe_split

if TYPE_CHECKING:
    from .augmentation import Augmenter
    from .index import PatchIndex
    from .live import labels_changed
    from .loader import PatchLoader
    from .normalisation import Normalisation
    from .patches import PatchSpec
    from .pipeline import PatchDataset
    from .samples import Sample, coins, tubes_and_blobs

# These need torch or numba, which opening and checking data must not wait for.
_LATER = {
    "Augmenter": "augmentation",
    "Normalisation": "normalisation",
    "PatchDataset": "pipeline",
    "PatchIndex": "index",
    "PatchLoader": "loader",
    "PatchSpec": "patches",
    "Sample": "samples",
    "coins": "samples",
    "labels_changed": "live",
    "tubes_and_blobs": "samples",
}

__all__ = [
    "FORMATS",
    "PARTS",
    "SPLIT_FILE",
    "Augmenter",
    "CheckReport",
    "Dataset",
    "Format",
    "Normalisation",
    "Part",
    "PatchDataset",
    "PatchIndex",
    "PatchLoader",
    "PatchSpec",
    "Record",
    "Region",
    "Sample",
    "Source",
    "Split",
    "check_dataset",
    "coins",
    "content_hash",
    "describe_split",
    "find_images",
    "find_leakage",
    "full_region",
    "gather_facts",
    "is_store",
    "labels_changed",
    "make_folds",
    "make_split",
    "open_dataset",
    "open_folder",
    "open_layers",
    "open_source",
    "open_sources",
    "tubes_and_blobs",
]

__getattr__ = lazy(__name__, _LATER)
