"""Paint labels in napari and get a trained network back."""

__version__ = "0.1.0"
