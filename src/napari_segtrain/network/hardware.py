"""Which device computes and in which number format, with the reasons in words."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from napari_segtrain.config import ConfigError, Precision

Accelerator = Literal["cpu", "cuda", "mps"]
Number = Literal["fp32", "bf16", "fp16"]

_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",  # of cuDNN and cuBLAS
    "could not create a primitive",  # oneDNN's, on processors; nothing else of these networks is refused
    "could not create a memory",
)
_LOST = re.compile(
    r"\b(cuda|hip)( driver)? error:(?! (no kernel image|invalid))"
    r"|cudnn_status_(execution_failed|internal_error)",
    re.IGNORECASE,
)
SAVED = "Nothing that was saved is lost: resume the run, or predict again"
"""How to go on when a GPU stopped working."""
_DEVICE = re.compile(r"^(?:(?P<word>auto|cpu|mps)|(?:cuda|gpu)(?::(?P<index>\d+))?)$")


@dataclass(frozen=True)
class Inventory:
    """What torch can compute with on this machine.

    Attributes
    ----------
    gpus
        Number of CUDA (or ROCm) devices.
    mps
        Whether an Apple GPU can be used.
    why_no_gpu
        A sentence that says why `gpus` is 0; empty otherwise.
    why_no_mps
        A sentence that says why `mps` is False; empty otherwise.
    """

    gpus: int = 0
    mps: bool = False
    why_no_gpu: str = ""
    why_no_mps: str = ""

    @classmethod
    def of_this_machine(cls) -> Inventory:
        """Ask torch."""
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        mps = torch.backends.mps.is_available()
        return cls(gpus, mps, "" if gpus else _why_no_gpu(), "" if mps else _why_no_mps())


def _why_no_gpu() -> str:
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return f"this is a build of torch without CUDA ({torch.__version__})"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU"
    return f"torch {torch.__version__} finds no NVIDIA driver or no GPU (try nvidia-smi in a terminal)"


def _why_no_mps() -> str:
    if not torch.backends.mps.is_built():
        return "this is a build of torch without support for Apple GPUs"
    return "this machine has no Apple GPU, or a macOS before 12.3"


@dataclass(frozen=True)
class Hardware:
    """Where a run computes.

    Attributes
    ----------
    accelerator
        Kind of device.
    devices
        Indices of the GPUs of a machine; on the processor and the Apple GPU, numbers of the processes.
    strategy
        How Lightning spreads the work: ``"auto"`` in one process, ``"ddp"`` over several.
    messages
        What the user should know of the choice, a sentence each.
    num_nodes
        Machines that train together, each with as many devices.
    """

    accelerator: Accelerator
    devices: tuple[int, ...]
    strategy: Literal["auto", "ddp"]
    messages: tuple[str, ...] = ()
    num_nodes: int = 1

    @property
    def processes(self) -> int:
        """Processes that train together, one a device."""
        return len(self.devices) * self.num_nodes

    @property
    def device(self) -> torch.device:
        """The first device."""
        return self.device_of(0)

    def device_of(self, local_rank: int) -> torch.device:
        """Return the device of a machine's process with this number."""
        if self.accelerator == "cuda":
            return torch.device("cuda", self.devices[local_rank])
        return torch.device(self.accelerator)


def resolve_hardware(
    devices: str | Sequence[str],
    inventory: Inventory | None = None,
    *,
    count: int | None = None,
    num_nodes: int = 1,
    strategy: Literal["auto", "ddp"] = "auto",
) -> Hardware:
    """Turn the wanted devices into those that are there.

    Parameters
    ----------
    devices
        Names such as ``["gpu:0", "gpu:1"]`` or ``"gpu:0,gpu:1"``; ``auto`` is the first GPU, else the
        processor.
    inventory
        What the machine has; by default torch is asked.
    count
        How many devices train together: the first so many GPUs, or so many processes on the processor.
        None: as many as are named.
    num_nodes
        Machines that train together.
    strategy
        ``"ddp"`` takes all GPUs when neither `count` nor a number in `devices` says which.

    Returns
    -------
    Hardware
        The processor, with a message that says why, where a wanted GPU is absent.

    Raises
    ------
    ConfigError
        When `devices` is empty, a name is not a device, or there are not `count` of them.
    """
    names = devices.split(",") if isinstance(devices, str) else list(devices)
    if not names:
        raise ConfigError("No device selected: choose auto, cpu, mps, cuda or cuda:<number>")
    have = inventory if inventory is not None else Inventory.of_this_machine()
    messages: list[str] = []
    gpus: list[int] = []
    words: list[str] = []
    for name in names:
        word, index = _parse(name, have)
        if word != "gpu":
            words.append(word)
        elif have.gpus == 0:
            messages.append(f"{name} was asked for, but {have.why_no_gpu}; the processor computes instead")
        elif index >= have.gpus:
            last = have.gpus - 1
            messages.append(f"{name} is not there (the GPUs are 0 to {last}); it is left out")
        elif index not in gpus:
            gpus.append(index)
    if gpus:
        if "cpu" in words:
            messages.append("the processor is left out: GPUs and the processor do not train together")
        chosen = _several(names, gpus, have, count, strategy)
        return Hardware("cuda", chosen, _strategy(len(chosen) * num_nodes), tuple(messages), num_nodes)
    if "mps" in words:
        if have.mps:
            if (count or 1) * num_nodes > 1:
                raise ConfigError("tr_setup.devices: an Apple GPU trains alone; leave devices and nodes at 1")
            return Hardware("mps", (0,), "auto", tuple(messages))
        messages.append(f"mps was asked for, but {have.why_no_mps}; the processor computes instead")
    elif messages and have.gpus:
        messages.append("the processor computes instead")
    if strategy == "ddp" and count is None and num_nodes == 1 and not messages:
        raise ConfigError(
            "tr_setup.strategy ddp: on the processor, say how many processes train together (--devices 2), "
            "or leave strategy at auto"
        )
    processes = tuple(range(count or 1))
    return Hardware("cpu", processes, _strategy(len(processes) * num_nodes), tuple(messages), num_nodes)


def _strategy(processes: int) -> Literal["auto", "ddp"]:
    return "ddp" if processes > 1 else "auto"


def _several(
    names: Sequence[str], gpus: Sequence[int], have: Inventory, count: int | None, strategy: str
) -> tuple[int, ...]:
    """Return the GPUs that are meant: those with a number, or the first `count`."""
    if any(":" in name for name in names):
        if count is not None and count != len(gpus):
            raise ConfigError(
                f"tr_setup.devices: {count} devices are asked for, but device names {len(gpus)} that "
                f"{'is' if len(gpus) == 1 else 'are'} there ({', '.join(names)}): leave one of the two out"
            )
        return tuple(sorted(gpus))
    wanted = count or (have.gpus if strategy == "ddp" else 1)
    if wanted > have.gpus:
        raise ConfigError(
            f"tr_setup.devices: {wanted} devices are asked for, but this machine has {have.gpus} "
            f"GPU{'' if have.gpus == 1 else 's'}: give at most that many (each node has its own), or "
            "--device cpu"
        )
    return tuple(range(wanted))


def _parse(name: str, have: Inventory) -> tuple[str, int]:
    match = _DEVICE.match(name.strip().lower())
    if match is None:
        raise ConfigError(
            f"{name!r} is not a device. Allowed: auto, cpu, mps, cuda, and cuda:<number> for one of several"
        )
    word = match["word"]
    if word == "auto":
        word = "gpu" if have.gpus else "mps" if have.mps else "cpu"
    return word or "gpu", int(match["index"] or 0)


def choose_precision(wanted: Precision, hardware: Hardware) -> tuple[Number, tuple[str, ...]]:
    """Choose the number format of the network's arithmetic.

    ``auto`` takes bf16 on GPUs that compute it natively (compute capability 8 and later), fp16 on
    those with tensor cores for it (7), else fp32. Processors without matrix units for bf16 are slower
    with it (2.3 times in our measurements), so ``auto`` never takes it there.

    Returns
    -------
    tuple of str and tuple of str
        The format, and sentences for the user.
    """
    kind = hardware.accelerator
    if kind == "cuda":
        major, _ = torch.cuda.get_device_capability(hardware.device)
        if wanted == "auto":
            return ("bf16" if major >= 8 else "fp16" if major == 7 else "fp32"), ()
        if wanted == "bf16" and major < 8:
            return "fp16", ("this GPU has no bf16 arithmetic; fp16 is used instead",)
        return wanted, ()
    if wanted in ("auto", "fp32"):
        return "fp32", ()
    where = "a processor" if kind == "cpu" else "an Apple GPU"
    if wanted == "fp16":
        return "fp32", (f"fp16 training needs an NVIDIA GPU, this is {where}; fp32 is used instead",)
    if kind == "mps":
        return "fp32", ("bf16 training is not offered on an Apple GPU; fp32 is used instead",)
    return "bf16", ("bf16 is slower than fp32 on most processors; precision auto would take fp32",)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there was not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def lost_device(error: BaseException, advice: str = SAVED) -> str:
    """Return what to say when a GPU stopped working; an empty text when an error says something else.

    Errors of this kind stay: whatever the process computes there afterwards fails, too.

    Parameters
    ----------
    error
        What happened.
    advice
        A sentence on what is lost, and how to go on.
    """
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return ""
    told = str(error).partition("\n")[0]
    if _LOST.search(told) is None:
        return ""
    return (
        f"the GPU stopped working ({told}). {advice}. If it happens again, restart the computer, or compute "
        "on the processor (device cpu)"
    )
