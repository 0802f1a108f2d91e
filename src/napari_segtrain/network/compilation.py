"""When compiling the network is worth the wait."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from typing import Literal

from .cost import step_seconds
from .multitask import MultiTaskNetwork

logger = logging.getLogger(__name__)

WAIT_SECONDS = 60.0
"""What a first compilation takes on one processor core."""

GAIN = 0.2
"""Share of the time that a compiled training step saves, at least."""


def cannot_compile(device: str) -> Literal[False] | str:
    """Return why torch.compile is of no use here, in words, or False."""
    if device == "mps":
        return "torch.compile does not speed up Apple GPUs yet"
    if device == "cpu":
        compiler = os.environ.get("CXX") or next(
            (name for name in ("g++", "c++", "clang++", "cl") if shutil.which(name)), None
        )
        if compiler is None or shutil.which(compiler) is None:
            return "compiling for a processor needs a C++ compiler (g++, clang++ or cl), and there is none"
        if not _runs(compiler):
            return f"the C++ compiler {compiler} does not run"
    elif find_spec("triton") is None:
        return "compiling for a GPU needs triton, which is not installed"
    return False


@cache
def _runs(compiler: str) -> bool:
    """Return whether a compiler answers; one that does not makes torch write pages about it."""
    # That of Microsoft knows no --version, and says what it is when it is called with nothing.
    arguments = [compiler] if compiler.endswith("cl") else [compiler, "--version"]
    try:
        return subprocess.run(arguments, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def worth_compiling(network: MultiTaskNetwork, batch_size: int, device: str, expected_steps: int) -> bool:
    """Return whether the time saved over `expected_steps` is twice the wait for the compiler."""
    seconds = expected_steps * step_seconds(network.plan, batch_size, device)
    return seconds * GAIN > 2 * WAIT_SECONDS


def maybe_compile(
    network: MultiTaskNetwork,
    device: str,
    *,
    batch_size: int,
    expected_steps: int,
    switch: Literal["auto", "on", "off"] = "auto",
) -> bool:
    """Compile `network` in place where that pays, together with channels-last features.

    The names in its state dict stay as they are. What the compiler cannot handle runs as it was.

    Parameters
    ----------
    network
        On its device already.
    device
        Kind of device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    batch_size, expected_steps
        The work ahead.
    switch
        ``"on"`` compiles whatever the work; ``"off"`` never does.

    Returns
    -------
    bool
        Whether the network is compiled.
    """
    if switch == "off":
        return False
    reason = cannot_compile(device)
    if reason:
        logger.info("the network is not compiled: %s", reason)
        return False
    if switch == "auto" and not worth_compiling(network, batch_size, device, expected_steps):
        return False
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True
    # What it cannot handle it would explain with a traceback for each graph.
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    network.use_channels_last()
    network.compile(dynamic=False)
    return True
