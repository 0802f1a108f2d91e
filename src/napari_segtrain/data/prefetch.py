"""Things prepared ahead by threads and handed out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Iterator[T], Generic[T]):
    """Tes in order, a fixed number of them in preparation."""

    def __init__(self, pool: ThreadPoolExecutor, make: Callable[[int], T], count: int, depth: int) -> None:
        self._pool = pool
        self._make = make
        self._steps = iter(range(count))
        self._pending: deque[Future[T]] = deque()
        for _ in range(depth):
            self._submit()

    def __next__(self) -> T:
        if not self._pending:
            raise StopIteration
        future = self._pending.popleft()
        self._submit()
        try:
            return future.result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop every batch that nobody waits for any more."""
        self._steps = iter(())
        while self._pending:
            self._pending.popleft().cancel()

    def __del__(self) -> None:
        self.close()

    def _submit(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._pending.append(self._pool.submit(self._make, step))
