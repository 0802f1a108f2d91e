"""Which device and number format a run gets, and what the user is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from napari_segtrain.config import ConfigError
from napari_segtrain.network import Hardware, Inventory, choose_precision, lost_device, resolve_hardware

NONE = Inventory(why_no_gpu="this is a build of torch without CUDA", why_no_mps="there is no Apple GPU")
TWO = Inventory(gpus=2, why_no_mps="there is no Apple GPU")
APPLE = Inventory(mps=True, why_no_gpu="there is no NVIDIA GPU")


def test_two_gpus_are_spread_over_with_ddp() -> None:
    assert resolve_hardware(["gpu:0", "gpu:1"], TWO) == Hardware("cuda", (0, 1), "ddp")


@pytest.mark.parametrize(
    ("names", "have", "asked", "accelerator", "devices"),
    [
        ("auto", TWO, {"count": 2}, "cuda", (0, 1)),
        ("cuda", TWO, {"strategy": "ddp"}, "cuda", (0, 1)),
        ("gpu:1,gpu:0", TWO, {}, "cuda", (0, 1)),
        ("gpu:1", TWO, {"strategy": "ddp"}, "cuda", (1,)),
        ("cpu", TWO, {"count": 3}, "cpu", (0, 1, 2)),
        ("auto", NONE, {"count": 2, "strategy": "ddp"}, "cpu", (0, 1)),
        ("gpu", NONE, {"strategy": "ddp"}, "cpu", (0,)),
    ],
)
def test_so_many_devices_train_together(
    names: str, have: Inventory, asked: dict[str, Any], accelerator: str, devices: tuple[int, ...]
) -> None:
    found = resolve_hardware(names, have, **asked)
    assert (found.accelerator, found.devices) == (accelerator, devices)
    assert found.strategy == ("ddp" if len(devices) > 1 else "auto")


@pytest.mark.parametrize(
    ("names", "have", "asked", "words"),
    [
        ("auto", TWO, {"count": 3}, "this machine has 2 GPUs"),
        ("gpu:0", TWO, {"count": 2}, "device names 1"),
        ("cpu", TWO, {"strategy": "ddp"}, "how many processes"),
        ("mps", APPLE, {"count": 2}, "trains alone"),
    ],
)
def test_devices_that_are_not_there_are_refused(
    names: str, have: Inventory, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_hardware(names, have, **asked)


def test_every_node_has_its_devices() -> None:
    found = resolve_hardware("cuda", TWO, count=2, num_nodes=3)
    assert (found.processes, found.strategy) == (6, "ddp")
    assert found.device_of(1) == torch.device("cuda", 1)


def test_gpu_and_processor_drops_the_processor_with_a_message() -> None:
    found = resolve_hardware(["gpu:0", "cpu"], TWO)
    assert (found.accelerator, found.devices, found.strategy) == ("cuda", (0,), "auto")
    assert len(found.messages) == 1
    assert "processor is left out" in found.messages[0]


def test_no_device_is_an_error() -> None:
    with pytest.raises(ConfigError, match="No device selected"):
        resolve_hardware([], TWO)


@pytest.mark.parametrize("name", ["cuda", "gpu:0", "cuda:3"])
def test_an_absent_gpu_becomes_the_processor_with_the_reason(name: str) -> None:
    found = resolve_hardware(name, NONE)
    assert (found.accelerator, found.devices) == ("cpu", (0,))
    assert name in found.messages[0]
    assert "without CUDA" in found.messages[0]
    assert "processor computes instead" in found.messages[0]


def test_a_gpu_number_too_high_names_those_that_are_there() -> None:
    found = resolve_hardware("cuda:5", TWO)
    assert found.accelerator == "cpu"
    assert "0 to 1" in found.messages[0]
    assert "processor computes instead" in found.messages[1]


def test_the_same_gpu_twice_is_one_gpu() -> None:
    assert resolve_hardware(["cuda", "gpu:0"], TWO) == Hardware("cuda", (0,), "auto")


@pytest.mark.parametrize(("have", "expected"), [(NONE, "cpu"), (TWO, "cuda"), (APPLE, "mps")])
def test_auto_takes_the_best_there_is(have: Inventory, expected: str) -> None:
    found = resolve_hardware("auto", have)
    assert found.accelerator == expected
    assert found.messages == ()


def test_mps_is_known_and_its_absence_explained() -> None:
    assert resolve_hardware("mps", APPLE).accelerator == "mps"
    absent = resolve_hardware("mps", NONE)
    assert absent.accelerator == "cpu"
    assert "no Apple GPU" in absent.messages[0]


@pytest.mark.parametrize("name", ["cuda:", "tpu", "gpu:x", ""])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="cuda:<number>"):
        resolve_hardware(name, TWO)


def test_the_device_of_a_gpu_has_its_number() -> None:
    assert resolve_hardware("cuda:1", TWO).device == torch.device("cuda", 1)
    assert resolve_hardware("cpu", TWO).device == torch.device("cpu")


def test_this_machine_says_why_it_has_no_gpu() -> None:
    have = Inventory.of_this_machine()
    assert bool(have.gpus) != bool(have.why_no_gpu)
    assert have.mps != bool(have.why_no_mps)


def test_hidden_gpus_are_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES='-1'" in Inventory.of_this_machine().why_no_gpu


CPU = Hardware("cpu", (0,), "auto")
MPS = Hardware("mps", (0,), "auto")
GPU = Hardware("cuda", (0,), "auto")


@pytest.mark.parametrize(
    ("wanted", "hardware", "expected", "said"),
    [
        ("auto", CPU, "fp32", False),
        ("fp32", CPU, "fp32", False),
        ("bf16", CPU, "bf16", True),
        ("fp16", CPU, "fp32", True),
        ("auto", MPS, "fp32", False),
        ("bf16", MPS, "fp32", True),
    ],
)
def test_precision_without_a_gpu(wanted: str, hardware: Hardware, expected: str, said: bool) -> None:
    precision, messages = choose_precision(wanted, hardware)  # type: ignore[arg-type]
    assert precision == expected
    assert bool(messages) == said


@pytest.mark.parametrize(
    ("capability", "wanted", "expected"),
    [(9, "auto", "bf16"), (8, "auto", "bf16"), (7, "auto", "fp16"), (6, "auto", "fp32"), (7, "bf16", "fp16")],
)
def test_precision_follows_the_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: int, wanted: str, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (capability, 0))
    assert choose_precision(wanted, GPU)[0] == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        ("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later", True),
        ("CUDA driver error: device not ready", True),
        ("HIP error: an illegal memory access was encountered", True),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", True),
        ("CUDA error: out of memory", False),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", False),
        ("CUDA error: no kernel image is available for execution on the device", False),
        ("Expected all tensors to be on the same device, cuda:0 and cpu: error", False),
    ],
)
def test_a_gpu_that_stopped_working_is_told_from_other_faults(message: str, lost: bool) -> None:
    said = lost_device(RuntimeError(message))
    assert bool(said) is lost
    if lost:
        assert message.partition("\n")[0] in said and "\n" not in said and "device cpu" in said
    assert lost_device(ValueError(message)) == ""
