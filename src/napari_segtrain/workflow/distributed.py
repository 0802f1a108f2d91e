"""Predictions spread over processes and machines: blocks of a Zarr store, by dask.distributed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ConfigError, InferenceConfig, RunError, SegtrainError
from napari_segtrain.inference import Outcome, Predictor, SharedZarrSink, Spread, StreamResult, ZarrSink
from napari_segtrain.inference.layout import BlockLayout
from napari_segtrain.inference.stream import CancelCheck, ProgressCallback

from .images import ImageReader

_SHARES_A_WORKER = 8
"""Into so many parts the work of each worker is cut: the last one to finish is soon done."""
_MOST_BLOCKS = 64
_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Share:
    """What a worker is told: blocks of one output, and how to predict them.

    Attributes
    ----------
    run
        Checkpoint file.
    changed
        When the checkpoint was written; another one is loaded anew.
    inference
        The section ``inference_config``.
    device
        Where to predict, as in ``tr_setup.device``; empty for the worker's own GPU, else its processor.
    image, reading
        Path of the image, and how it is stored where that differs from the training data.
    store
        Path of the output.
    region, block
        Part of the image, and size of the blocks.
    numbers
        Running numbers of the blocks.
    """

    run: str
    changed: float
    inference: str
    device: str
    image: str
    reading: tuple[tuple[str, Any], ...]
    store: str
    region: tuple[tuple[int, int], ...]
    block: tuple[int, ...]
    numbers: tuple[int, ...]


_ONE_AT_A_TIME = threading.Lock()


def predict_share(share: Share) -> tuple[int, int]:
    """Predict the blocks of a share, in a worker; return how many tiles were due, and how many empty."""
    with _ONE_AT_A_TIME:
        predictor = _loaded(share.run, share.changed, share.inference, share.device or _own_device())
        source = ImageReader(predictor, dict(share.reading)).open(Path(share.image))
        region = tuple(slice(start, stop) for start, stop in share.region)
        result = predictor.predict_blocks(
            source, SharedZarrSink(share.store), region, share.block, share.numbers
        )
    return result.tiles, result.skipped


@lru_cache(maxsize=1)
def _loaded(run: str, changed: float, inference: str, device: str) -> Predictor:
    return Predictor.from_checkpoint(run, device, InferenceConfig.model_validate_json(inference))


def _own_device() -> str:
    """Return the GPU that is this worker's: workers of one machine are numbered."""
    import torch
    from distributed import get_worker

    name = get_worker().name
    gpus = torch.cuda.device_count()
    return f"cuda:{name % gpus}" if gpus and isinstance(name, int) else "auto"


@contextmanager
def cluster(workers: int | None, scheduler: str | None, device: str) -> Iterator[Any]:
    """Yield a `distributed.Client`: of workers that are started here, or of those of a scheduler.

    Parameters
    ----------
    workers
        Processes to start on this machine; None: one a GPU, or one for every two cores.
    scheduler
        Address of a scheduler, such as ``tcp://head:8786``, or its file; None starts workers.
    device
        As in ``tr_setup.device``.

    Raises
    ------
    ConfigError
        When dask.distributed is not installed, or both are given.
    RunError
        When the scheduler does not answer, or has no workers.
    """
    if find_spec("distributed") is None:
        raise ConfigError(
            "inference_config.strategy distributed needs dask.distributed: "
            "pip install 'napari-segtrain[distributed]', or choose another strategy"
        )
    if workers is not None and scheduler is not None:
        raise ConfigError("--workers starts workers here, --scheduler uses those that are there: give one")
    from distributed import Client, LocalCluster

    if scheduler is not None:
        where: dict[str, Any] = {"address": scheduler}
        if Path(scheduler).is_file():
            where = {"scheduler_file": scheduler}
        try:
            client = Client(**where, timeout=10)
        except (OSError, ValueError) as error:
            raise RunError(f"--scheduler {scheduler}: no scheduler answers there ({error})") from None
        with client:
            yield client
        return
    import torch

    gpus = torch.cuda.device_count() if device != "cpu" else 0
    cores = os.cpu_count() or 1
    count = workers or gpus or max(1, cores // 2)
    # Each has its share of the cores; the variable counts when the worker imports torch.
    threads = {"OMP_NUM_THREADS": str(max(1, cores // count))}
    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address=None,
            env=threads,
            # A worker that takes its time to end, after a stop, is no news to anybody.
            silence_logs=logging.ERROR,
        ) as local,
        Client(local) as client,
    ):
        yield client


def spread_over(
    client: Any,
    predictor: Predictor,
    image: str | Path,
    reading: Mapping[str, Any] | None,
    device: str,
    sink: ZarrSink,
) -> Spread:
    """Return what predicts the pending blocks of `sink` by the workers of a cluster.

    Parameters
    ----------
    client
        A `distributed.Client`.
    predictor
        The network, loaded from a checkpoint.
    image, reading, device
        See `predict_files`.
    sink
        The output; it is opened by `Predictor.predict_source`, and notes what is done.
    """
    file = predictor.checkpoint
    if file is None:
        raise ConfigError("inference_config.strategy distributed needs a checkpoint that workers can load")
    share = partial(
        Share,
        run=str(file.resolve()),
        changed=file.stat().st_mtime,
        inference=predictor.inference.model_dump_json(),
        # On its own machine a worker may have another GPU than this one.
        device="" if device in ("auto", "cuda", "gpu") else device,
        image=str(Path(image).resolve()),
        reading=tuple(sorted((reading or {}).items())),
        store=str(sink.path.resolve()),
    )
    return partial(_spread, client, share, sink)


def _spread(
    client: Any,
    share: Callable[..., Share],
    sink: ZarrSink,
    layout: BlockLayout,
    pending: npt.NDArray[np.bool_],
    progress: ProgressCallback | None,
    cancel: CancelCheck | None,
) -> StreamResult:
    began = time.perf_counter()
    numbers = [int(number) for number in np.flatnonzero(pending)]
    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    size = max(1, min(_MOST_BLOCKS, -(-len(numbers) // (_SHARES_A_WORKER * workers))))
    region = tuple((part.start, part.stop) for part in layout.grid.bounds)
    parts = [tuple(numbers[first : first + size]) for first in range(0, len(numbers), size)]
    waiting = {
        client.submit(
            predict_share,
            share(region=region, block=layout.block, numbers=part),
            pure=False,
        ): part
        for part in parts
    }
    tiles = skipped = blocks = 0
    try:
        while waiting:
            if cancel is not None and cancel():
                client.cancel(list(waiting))
                return StreamResult(Outcome.CANCELLED, tiles, skipped, blocks, time.perf_counter() - began)
            future = next((future for future in waiting if future.done()), None)
            if future is None:
                time.sleep(_LOOK_EVERY)
                continue
            due, empty = _result(future)
            tiles, skipped = tiles + due, skipped + empty
            for number in waiting.pop(future):
                sink.note(layout.core(layout.position(number)))
                blocks += 1
            if progress is not None:
                spent = time.perf_counter() - began
                progress(blocks / len(numbers), spent / blocks * (len(numbers) - blocks))
    except BaseException:
        client.cancel(list(waiting))
        raise
    return StreamResult(Outcome.COMPLETED, tiles, skipped, blocks, time.perf_counter() - began)


def _result(future: Any) -> tuple[int, int]:
    """Return what a worker returned, or raise what it raised, in words."""
    from distributed import CancelledError, KilledWorker

    try:
        return cast(tuple[int, int], future.result())
    except SegtrainError:
        raise
    except KilledWorker:
        raise RunError(
            "workers were ended again and again by the same blocks; mostly that is the system, when memory "
            "runs out: use fewer workers or a smaller tile. The same command goes on"
        ) from None
    except CancelledError:
        raise RunError("the workers, or their scheduler, are gone; the same command goes on") from None
