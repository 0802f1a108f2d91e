"""Things prepared ahead by threads and handed out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Iterator[T], Generic[T]):
    """Goes through what `make` returns for each number, a fixed number of them in preparation.

    Parameters
    ----------
    pool
        Threads that prepare.
    make
        Prepares one thing; what it raises is raised when its turn comes.
    numbers
        What `make` is called with, in order.
    depth
        How many are prepared ahead; preparation starts at once.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, make: Callable[[int], T], numbers: Iterable[int], depth: int
    ) -> None:
        self._pool = pool
        self._make = make
        self._numbers = iter(numbers)
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
        self._numbers = iter(())
        while self._pending:
            self._pending.popleft().cancel()

    def __del__(self) -> None:
        self.close()

    def _submit(self) -> None:
        number = next(self._numbers, None)
        if number is not None:
            self._pending.append(self._pool.submit(self._make, number))
