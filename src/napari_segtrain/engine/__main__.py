"""``python -m napari_segtrain.engine``: the process that trains and predicts."""

import os
import sys

from napari_segtrain.engine.serve import main

if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of libraries must not keep a process alive that has nothing left to do.
    os._exit(code)
