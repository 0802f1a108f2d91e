"""Files that TensorBoard reads: numbers and pictures by tag and step, with none that contradict each other.

An event file is a row of frames, each ``length (uint64), checksum, protobuf Event, checksum``, little-endian
(the TFRecord format); checksums are CRC-32C, rotated and shifted. It is written here rather than with torch's
writer, whose import takes seconds, and whose thread ends the training when the disk is full.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from napari_segtrain.config import RunError

from .atomic import explain_os_error, write_bytes

logger = logging.getLogger(__name__)

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
_CASTAGNOLI = 0x82F63B78


class TensorBoardFile:
    """Adds numbers and pictures to a folder that TensorBoard shows; its file is made with the first of them.

    A disk that is full costs curves, never the run: the first failure is logged, the others are passed over.

    Parameters
    ----------
    folder
        Made when absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path: Path | None = None
        self._waiting: list[bytes] = []
        self._failed = False

    def add_number(self, tag: str, value: float, step: int) -> None:
        """Remember a number until `flush`."""
        self._add(step, tag=tag, simple_value=value)

    def add_picture(self, tag: str, data: bytes, step: int) -> None:
        """Remember a picture, the content of a PNG or GIF file, until `flush`."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
        shown = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
        self._add(step, tag=tag, image=shown)

    def _add(self, step: int, **value: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        event = Event(wall_time=time.time(), step=step, summary=Summary(value=[Summary.Value(**value)]))
        self._waiting.append(_frame(event.SerializeToString()))

    def flush(self) -> None:
        """Write what was added."""
        if not self._waiting:
            return
        frames, self._waiting = b"".join(self._waiting), []
        try:
            if self._path is None:
                self._path = self._begin()
            with self._path.open("ab") as file:
                file.write(frames)
        except OSError as error:
            if not self._failed:
                logger.error("%s: curves are missing (%s)", self.folder, explain_os_error(error))
            self._failed = True

    def _begin(self) -> Path:
        from tensorboard.compat.proto.event_pb2 import Event

        self.folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{now:017.6f}.{socket.gethostname()}.{os.getpid()}"
        path = self.folder / name
        with path.open("xb") as file:
            file.write(_frame(Event(wall_time=now, file_version="brain.Event:2").SerializeToString()))
        return path

    def forget(self, superseded: Callable[[str, int], bool]) -> None:
        """Take out what is to be said anew, such as the steps after the checkpoint that a run goes on from.

        Parameters
        ----------
        superseded
            Told tag and step of everything that is there; True takes it out.
        """
        from tensorboard.compat.proto.event_pb2 import Event

        def stays(content: bytes) -> bool:
            event = Event.FromString(content)
            return not any(superseded(value.tag, event.step) for value in event.summary.value)

        for path in self._files():
            try:
                data = path.read_bytes()
                kept = b"".join(frame for frame, content in _frames(data) if stays(content))
                if kept != data:
                    write_bytes(path, kept)
            except (OSError, RunError) as error:
                logger.error("%s: some curves have two values at one step (%s)", path, error)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("events.out.tfevents.*")) if self.folder.is_dir() else []


def _frame(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _TAIL.pack(_checksum(length)) + content + _TAIL.pack(_checksum(content))


def _frames(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the frames of a file with what is in them; one that a process died over ends it."""
    place = 0
    while place + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, place)
        stop = place + _HEAD.size + length
        end = stop + _TAIL.size
        if checksum != _checksum(data[place : place + 8]) or end > len(data):
            return
        yield data[place:end], data[place + _HEAD.size : stop]
        place = end


@cache
def _table() -> tuple[int, ...]:
    def entry(number: int) -> int:
        for _ in range(8):
            number = (number >> 1) ^ (_CASTAGNOLI if number & 1 else 0)
        return number

    return tuple(entry(number) for number in range(256))


def _checksum(content: bytes) -> int:
    """Return the CRC-32C of some bytes, masked as the format wants it."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
