"""Section `inference_config`: how a trained network predicts."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, field_validator

from .base import Config
from .fields import key


class InferenceConfig(Config):
    """Tiles, blending, what is written."""

    checkpoint: Literal["best", "last"] = key(
        "best", "Checkpoint", "Which weights of a run predict.", level="common"
    )
    tile_size: tuple[PositiveInt, ...] | None = key(
        None,
        "Tile size",
        "Size of the pieces that are predicted, in array order. Empty: the training patch size.",
        unit="px",
    )
    overlap: float = key(
        0.5,
        "Overlap",
        "Share of a tile that it has in common with its neighbour; more is smoother and slower.",
        ge=0.0,
        le=0.9,
        level="common",
    )
    blending: Literal["gaussian", "constant"] = key(
        "gaussian", "Blending", "Weights with which overlapping tiles are averaged."
    )
    strategy: Literal["auto", "standard", "mixed", "distributed"] = key(
        "auto",
        "Strategy",
        "standard: full precision (fp32). mixed: half precision (fp16 on a GPU, bf16 on a processor), the "
        "same labels but for single voxels. auto: mixed on a GPU, else standard. distributed: the blocks of "
        "a Zarr store are spread over worker processes or machines, each computing as auto does.",
    )
    batch_size: int | None = key(
        None,
        "Tiles at once",
        "Tiles in one pass. Empty: 1 on a processor, as measured on a GPU.",
        unit="tiles",
        ge=1,
    )
    mirroring: bool = key(
        False,
        "Mirroring",
        "Average the predictions of all mirrored versions (test-time augmentation): 4 times the work in "
        "2D, 8 times in 3D.",
        level="common",
    )
    resample: bool = key(
        False,
        "Resample",
        "Bring an image with another voxel size to that of the training data, and the predictions back to "
        "the image's grid. Distances stay in the unit of the training data.",
    )
    skip_empty: bool = key(
        True, "Skip empty tiles", "Tiles in which the image is constant are not predicted; they get zeros."
    )
    targets: tuple[str, ...] | None = key(
        None, "Outputs", "Names of the targets and auxiliary tasks to predict. Empty: all.", level="common"
    )
    output: Literal["labels", "probabilities", "uint8"] = key(
        "labels",
        "Write as",
        "labels: class numbers. probabilities: after the activation. uint8: scaled to 0 … 255, by limits "
        "that follow from the kind of output and are stored with it. Outputs that are not classes are "
        "numbers in every form; measured values have no limits and are never scaled.",
        level="common",
    )
    instances: bool = key(
        False,
        "Instances",
        "Number the separate objects: those of instance targets, by a seeded watershed; where none is "
        "predicted, the connected parts of binary targets.",
        level="common",
    )
    threshold: float = key(0.5, "Threshold", "Foreground begins at this probability.", ge=0.0, le=1.0)
    seed_threshold: float = key(
        0.5,
        "Seed threshold",
        "An object's seed is where its normalised distance from the border exceeds this.",
        ge=0.0,
        le=1.0,
    )
    seed_distance: float = key(
        0.0,
        "Seed distance",
        "Seeds nearer to each other than this, on a way through the foreground, are of one object; 0 joins "
        "none. In voxels along the axis of the smallest ones: the voxel size counts.",
        unit="px",
        ge=0.0,
        le=100.0,
    )
    min_size: int = key(16, "Smallest object", "Objects with fewer voxels are dropped.", unit="px", ge=0)

    @field_validator("tile_size")
    @classmethod
    def _two_or_three_axes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and len(value) not in (2, 3):
            raise ValueError(
                f"tile size {','.join(map(str, value))} is not usable: give two (2D) or three (3D) numbers, "
                "such as 256,256 or 64,64,64"
            )
        return value
