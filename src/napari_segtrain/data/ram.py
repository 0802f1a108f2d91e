"""How much memory the processor can still use: that of the machine, or of the container around us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

AHEAD_SHARE = 0.25
"""Share of the free memory that batches which are prepared ahead may take."""


@dataclass(frozen=True)
class Memory:
    """Bytes that there are in all, and those that a new job could use."""

    total: int
    free: int


def main_memory(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Memory:
    """Return the memory of this machine, or of the control group we are in, whichever is less.

    Docker, Kubernetes, SLURM and systemd give a group of processes a limit, at which the system ends one of
    them, however much the machine has. Limits nest: each group above counts too. What the group holds as
    file cache is given up when somebody needs it, and counts as free.

    Parameters
    ----------
    proc, root
        Where Linux says in which groups a process is, and keeps the groups (of version 1 and 2).
    """
    machine = psutil.virtual_memory()
    total, free = int(machine.total), int(machine.available)
    for limit, used in _groups(proc, root):
        total, free = min(total, limit), min(free, max(0, limit - used))
    return Memory(total, free)


def batches_ahead(workers: int, batch_bytes: int, free: int) -> int:
    """Return how many batches are prepared ahead: as many as keep the workers busy, and memory has room for.

    Parameters
    ----------
    workers
        Threads that prepare them.
    batch_bytes
        What a batch takes while it is prepared, and until it is used.
    free
        Bytes that this process may use.
    """
    return max(1, min(2 * workers + 1, int(AHEAD_SHARE * free) // max(1, batch_bytes)))


def _groups(proc: Path, root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and use of each group that has a limit."""
    for line in _lines(proc):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            yield from _nested(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _nested(root / "memory", path, *files)


def _nested(root: Path, path: str, most: str, now: str, cache: str) -> Iterator[tuple[int, int]]:
    folder = root / path.strip("/")
    # Inside a container the path may be the one outside of it, of which only the root can be seen.
    for group in {root, folder, *(p for p in folder.parents if p.is_relative_to(root))}:
        limit, used = _number(group / most), _number(group / now)
        if limit is not None and used is not None:
            stat = dict(line.split(maxsplit=1) for line in _lines(group / "memory.stat") if " " in line)
            yield limit, used - int(stat.get(cache, 0))


def _number(path: Path) -> int | None:
    """Return the number in a file; None without one, as where it says ``max``."""
    text = next(_lines(path), "")
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
