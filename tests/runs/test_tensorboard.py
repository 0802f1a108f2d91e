from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from napari_segtrain.runs import TensorBoardFile
from napari_segtrain.runs.tensorboard import _checksum


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def steps(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def picture(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG")
    return file.getvalue()


def test_tensorboard_reads_numbers_and_pictures(tmp_path: Path) -> None:
    file = TensorBoardFile(tmp_path / "curves")
    assert not file.folder.exists()
    data = picture((7, 5))
    for step in range(3):
        file.add_number("loss", 0.5 * step, step)
    file.add_picture("shown", data, 2)
    file.flush()
    file.add_number("loss", 2.0, 3)
    file.flush()
    assert steps(file.folder, "loss") == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0)]
    [shown] = read(file.folder).Images("shown")
    assert (shown.step, shown.width, shown.height, shown.encoded_image_string) == (2, 7, 5, data)


@pytest.mark.parametrize("content", [b"", b"123456789", os.urandom(300)])
def test_the_checksum_is_that_of_the_format(content: bytes) -> None:
    assert _checksum(content) == masked_crc32c(content)


def test_what_is_said_anew_is_taken_out_also_behind_a_torn_frame(tmp_path: Path) -> None:
    first = TensorBoardFile(tmp_path)
    for step in range(5):
        first.add_number("loss", step, step)
        first.add_number("epoch", step, step)
    first.flush()
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    second = TensorBoardFile(tmp_path)
    second.forget(lambda tag, step: tag == "loss" and step >= 2)
    second.add_number("loss", 20, 2)
    second.flush()
    assert steps(tmp_path, "loss") == [(0, 0), (1, 1), (2, 20)]
    assert [step for step, _ in steps(tmp_path, "epoch")] == [0, 1, 2, 3]


def test_what_stays_is_not_written_again(tmp_path: Path) -> None:
    file = TensorBoardFile(tmp_path)
    file.add_number("loss", 1, 1)
    file.flush()
    [path] = tmp_path.iterdir()
    before = path.stat().st_ino
    file.forget(lambda tag, step: step > 1)
    assert path.stat().st_ino == before


def test_a_full_disk_costs_curves_and_is_said_once(
    tmp_path: Path,
    small_files: Callable[[int], AbstractContextManager[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = TensorBoardFile(tmp_path)
    with caplog.at_level(logging.ERROR), small_files(10):
        for step in range(3):
            file.add_number("loss", 1, step)
            file.flush()
    assert [record.message.endswith("curves are missing (File too large)") for record in caplog.records] == [
        True
    ]
