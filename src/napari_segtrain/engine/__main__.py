"""``python -m napari_segtrain.engine``: the process that trains and predicts."""

import os
import sys

from napari_segtrain.engine.serve import main

if __name__ == "__main__":
    # Threads of torch that wait by spinning starve the viewer and each other on a busy machine; the variable
    # counts only when it is set before torch is imported, which the engine does when it warms up.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    code = main()
    sys.stderr.flush()
    # Threads of libraries must not keep a process alive that has nothing left to do.
    os._exit(code)
