"""What starting costs: the package, the command line's help, and the Train dock beside an image.

    python benchmarks/startup.py

Prints the median of several fresh processes and its ratio to the limit.
"""

import statistics
import subprocess
import sys
import time

REPEATS = 7
CASES = {
    "import napari_segtrain": ([sys.executable, "-c", "import napari_segtrain"], 0.15),
    "segtrain --help": ([sys.executable, "-m", "napari_segtrain", "--help"], 0.6),
}
NOTHING = [sys.executable, "-c", ""]


def seconds(command):
    """Return the median wall time of a command."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    seconds(NOTHING)
    bare = seconds(NOTHING)
    print(f"{'':26}{'s':>8}{'limit':>8}{'ratio':>8}")
    for name, (command, limit) in CASES.items():
        # The interpreter's own start is not the package's.
        own = seconds(command) - (bare if name.startswith("import") else 0.0)
        print(f"{name:26}{own:8.3f}{limit:8.2f}{own / limit:8.2f}")


if __name__ == "__main__":
    main()
