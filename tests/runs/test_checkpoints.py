from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_segtrain.config import RunError
from napari_segtrain.runs import (
    RunFolder,
    RunState,
    find_checkpoint,
    load_checkpoint,
    numbered_checkpoints,
    numbered_name,
    prune,
    save_checkpoint,
)


def checkpoint(value: float = 1.0) -> dict[str, object]:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    nn.init.constant_(network[0].weight, value)
    return {"model": network.state_dict(), "model_config": {"features": (4,), "norm": "batch"}, "epoch": 3}


def first_weight(path: Path) -> float:
    return float(load_checkpoint(path)["model"]["0.weight"].flatten()[0])


def test_a_checkpoint_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    stored = checkpoint()
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(3))])
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()
    extra = {
        "optimizer": optimizer.state_dict(),
        "histories": {"train": [0.5, 0.25], "val": [None]},
        "random": {"torch": torch.get_rng_state(), "numpy": {"state": {"state": 2**100, "inc": 5}}},
        "status": RunState.RUNNING,
        "best": np.float64(0.5),
        "steps": np.int64(7),
        "shape": torch.Size([1, 2]),
        "names": {"a"},
    }
    save_checkpoint(path, {**stored, **extra})
    loaded = load_checkpoint(path)
    assert list(loaded["model"]) == list(stored["model"])
    for key, value in stored["model"].items():
        torch.testing.assert_close(loaded["model"][key], value, rtol=0, atol=0)
    assert loaded["model"]._metadata["1"] == {"version": 2}
    torch.testing.assert_close(loaded["optimizer"], extra["optimizer"], rtol=0, atol=0)
    assert torch.equal(loaded["random"]["torch"], extra["random"]["torch"])
    assert loaded["random"]["numpy"] == extra["random"]["numpy"]
    assert loaded["histories"] == extra["histories"]
    assert [loaded[key] for key in ("status", "best", "steps", "shape", "names")] == [
        "running",
        0.5,
        7,
        (1, 2),
        {"a"},
    ]
    assert loaded["model_config"] == stored["model_config"]


def test_everything_loads_without_executing_code(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(
        path, {**checkpoint(), "ordered": OrderedDict(a=RunState.FAILED), "list": [np.bool_(True)]}
    )
    loaded = torch.load(path, weights_only=True)
    assert type(loaded["ordered"]["a"]) is str


@pytest.mark.parametrize("value", [np.zeros(3), object(), Path("a"), [1, {"deep": nn.Linear(1, 1)}]])
def test_values_that_would_not_load_are_refused_by_their_place(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match=r"checkpoint key 'extra.*' holds a .*weights_only=True"):
        save_checkpoint(tmp_path / "a.ckpt", {**checkpoint(), "extra": value})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_older_checkpoint(tmp_path: Path, small_files) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, checkpoint(1.0))
    big = {**checkpoint(2.0), "big": torch.zeros(100_000)}
    with small_files(50_000), pytest.raises(RunError, match=r"cannot be written .*an older one is kept"):
        save_checkpoint(path, big)
    assert first_weight(path) == 1.0
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_before_the_rename_keeps_the_older_checkpoint(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, checkpoint(1.0))

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(RunError, match="Input/output error"):
            save_checkpoint(path, checkpoint(2.0))
    assert first_weight(path) == 1.0


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({**checkpoint(), "extra": Trap(sprung)}, tmp_path / "zip.ckpt")
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Trap(sprung)))
    for name, words in (("zip", "holds Python objects"), ("bare", "is a Python pickle")):
        with pytest.raises(RunError, match=f"{name}.ckpt: {words}.*It is refused, because loading"):
            load_checkpoint(tmp_path / f"{name}.ckpt")
    assert not sprung.exists()


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "bit":
        with zipfile.ZipFile(path) as container:
            info = next(item for item in container.infolist() if item.filename.endswith("data/0"))
        header = info.header_offset
        lengths = struct.unpack_from("<HH", data, header + 26)
        data[header + 30 + sum(lengths)] ^= 1
    path.write_bytes({"bit": data, "cut": data[: len(data) // 2], "empty": b"", "text": b"hello" * 50}[how])


@pytest.mark.parametrize("how", ["bit", "cut", "empty", "text"])
def test_a_damaged_checkpoint_names_the_next_older_one(tmp_path: Path, how: str) -> None:
    for age, name in enumerate(["m_1.pth", "m_2.pth", "best.ckpt", "last.ckpt"]):
        save_checkpoint(tmp_path / name, checkpoint())
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    damage(tmp_path / "best.ckpt", how)
    os.utime(tmp_path / "best.ckpt", (1002, 1002))
    with pytest.raises(RunError, match=r"best\.ckpt: is damaged.*Use the next older one: .*m_2\.pth"):
        load_checkpoint(tmp_path / "best.ckpt")


def test_a_damaged_checkpoint_without_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(RunError, match="There is no older checkpoint beside it; train again"):
        load_checkpoint(tmp_path / "last.ckpt")


def test_missing_files_and_keys(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such checkpoint"):
        load_checkpoint(tmp_path / "best.ckpt")
    save_checkpoint(tmp_path / "a.ckpt", {"model": {}})
    with pytest.raises(RunError, match="is not a checkpoint of this program; it lacks model_config"):
        load_checkpoint(tmp_path / "a.ckpt")
    assert load_checkpoint(tmp_path / "a.ckpt", required=()) == {"model": {}}
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(RunError, match="it lacks model, model_config"):
        load_checkpoint(tmp_path / "list.ckpt")


def test_only_the_newest_numbered_checkpoints_are_kept(tmp_path: Path) -> None:
    for epoch in (9, 10, 11, 2):
        (tmp_path / numbered_name("net", epoch)).touch()
    for other in ("best.ckpt", "net_big_3.pth", "net_x.pth", "other_1.pth"):
        (tmp_path / other).touch()
    assert [path.name for path in numbered_checkpoints(tmp_path, "net")] == [
        "net_11.pth", "net_10.pth", "net_9.pth", "net_2.pth",
    ]  # fmt: skip
    assert [path.name for path in prune(tmp_path, "net", 2)] == ["net_9.pth", "net_2.pth"]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"net_11.pth", "net_10.pth", "best.ckpt", "net_big_3.pth", "net_x.pth", "other_1.pth"}
    prune(tmp_path, "net", 0)
    assert numbered_checkpoints(tmp_path, "net") == []


def test_a_checkpoint_is_found_by_run_or_file(run: RunFolder) -> None:
    with pytest.raises(RunError, match="has no checkpoint yet"):
        find_checkpoint(run.path)
    for which, names in {
        "m_3.pth": ("m_3.pth", "m_3.pth"),
        "m_12.pth": ("m_12.pth", "m_12.pth"),
        "last.ckpt": ("last.ckpt", "last.ckpt"),
        "best.ckpt": ("best.ckpt", "last.ckpt"),
    }.items():
        (run.checkpoints / which).touch()
        assert (find_checkpoint(run.path).name, find_checkpoint(run.path, "last").name) == names
    assert find_checkpoint(run.project) == run.checkpoints / "best.ckpt"
    assert find_checkpoint(run.checkpoints / "m_3.pth").name == "m_3.pth"
