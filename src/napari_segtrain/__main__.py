"""``python -m napari_segtrain`` is ``segtrain``."""

from napari_segtrain.cli import main

if __name__ == "__main__":
    main()
