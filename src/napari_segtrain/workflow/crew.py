"""The processes that train one run together: started here, or by SLURM, torchrun and the like."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, Self

import torch
import torch.distributed
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from napari_segtrain.config import ConfigError, ExperimentConfig, SegtrainError, TrainingError
from napari_segtrain.network import Hardware, resolve_hardware
from napari_segtrain.training import ALONE, Team, connect
from napari_segtrain.training.team import PATIENCE

logger = logging.getLogger(__name__)

TEAM = "SEGTRAIN_TEAM"
"""Environment variable that tells a process that was started here its place, and where the others meet."""
# -P: a file called torch.py in the working folder is not to be taken for the library.
FOLLOWER = ("-P", "-m", "napari_segtrain.workflow.follower")
"""What Python runs in the other processes."""
_FAILURE = "segtrain/failure"
_READY = "segtrain/ready/"
_LOOK_EVERY = 0.2
_GRACE = 60.0
"""Seconds in which the leader should notice by itself that a process is gone."""
_NEWS = 10.0
"""Seconds for the reason to arrive after a connection broke: a process closes it before it has ended."""
_FAREWELL = 30.0
"""Seconds for the others to end after the leader has."""


def hardware_of(config: ExperimentConfig) -> Hardware:
    """Return where an experiment computes, and in how many processes."""
    setup = config.tr_setup
    return resolve_hardware(
        setup.device, count=setup.devices, num_nodes=setup.num_nodes, strategy=setup.strategy
    )


def place_of(hardware: Hardware) -> tuple[Team, bool]:
    """Return the place of this process, and whether somebody else has started all of them.

    Raises
    ------
    ConfigError
        When those who started the processes and the experiment do not agree how many there are.
    """
    outside = _started_by()
    if outside is not None:
        team = Team(outside.global_rank(), outside.world_size(), outside.local_rank(), outside.node_rank())
        if team.size != hardware.processes:
            raise ConfigError(
                f"tr_setup.devices: {team.size} processes were started ({type(outside).__name__}), but the "
                f"experiment is for {hardware.processes} (devices {len(hardware.devices)}, num_nodes "
                f"{hardware.num_nodes}): give --devices and --num-nodes as they were started, or start one "
                "process"
            )
        os.environ["MASTER_ADDR"] = outside.main_address
        os.environ["MASTER_PORT"] = str(outside.main_port)
        return team, True
    if hardware.processes == 1:
        return ALONE, False
    node = int(os.environ.get("NODE_RANK", "0"))
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
    if hardware.num_nodes > 1 and missing:
        raise ConfigError(
            f"tr_setup.num_nodes {hardware.num_nodes}: start the same command on every node with srun or "
            f"torchrun; or by hand, with the variables {', '.join(missing)} set (address and a free port of "
            "the first node, and the number of this node from 0)"
        )
    return Team(node * len(hardware.devices), hardware.processes, 0, node), False


def _started_by() -> ClusterEnvironment | None:
    """Return what has started this process as one of several, or None."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    # Without srun there is one process, whatever was reserved.
    if "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        if not SLURMEnvironment.detect():
            return None
        try:
            return SLURMEnvironment(auto_requeue=False)
        except RuntimeError as error:
            raise ConfigError(f"this job cannot train on several devices: {error}") from None
    for kind in (LSFEnvironment, MPIEnvironment):
        if kind.detect():
            return kind()
    return None


class Crew:
    """The processes of one training, seen from the one that leads those of its machine.

    Parameters
    ----------
    hardware
        Where the experiment computes.
    team, outside
        See `place_of`.

    Attributes
    ----------
    team
        The place of this process.
    store
        Where the processes met, and tell of failures; None before.
    """

    def __init__(self, hardware: Hardware, team: Team, outside: bool) -> None:
        self.team = team
        self._hardware = hardware
        self._outside = outside
        self.store: Any = None
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._words: dict[int, IO[bytes]] = {}
        self._threads = torch.get_num_threads()
        self._connected = self._shared = False
        self._leaving = threading.Event()

    @classmethod
    @contextmanager
    def of(cls, config: ExperimentConfig) -> Iterator[Self]:
        """Find this process's place in an experiment; at the end no other process is left.

        Processes that somebody else has started meet at once; the others are started by `start`.
        """
        hardware = hardware_of(config)
        crew = cls(hardware, *place_of(hardware))
        try:
            if crew._outside and not crew.team.alone:
                crew._connect()
            elif not crew.team.leads:
                crew.start()
                crew._connect()
            yield crew
        except BaseException:
            crew._abandon()
            raise
        else:
            crew.dismiss()
        finally:
            for words in crew._words.values():
                words.close()

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._hardware.device_of(self.team.local_rank)

    def need_data(self) -> None:
        """Refuse data that is only in this process's memory when processes have to be started.

        Raises
        ------
        ConfigError
            When it cannot be handed on.
        """
        if not self.team.alone and not self._outside:
            raise ConfigError(
                "tr_setup.devices: several processes train from data on a disk; give a folder, or layers by "
                "their paths, or train on one device"
            )

    def start(self) -> None:
        """Start the other processes of this machine, unless somebody else does; they load meanwhile."""
        if self._outside or self.team.alone or self._children:
            return
        local = len(self._hardware.devices)
        host, port = "127.0.0.1", 0
        if self._hardware.num_nodes > 1:
            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(host, port, is_master=self.team.leads, wait_for_workers=False, timeout=PATIENCE)
        self.store = store
        threads = max(1, self._threads // local) if self._hardware.accelerator == "cpu" else self._threads
        torch.set_num_threads(threads)
        for number in range(1, local):
            team = Team(self.team.rank + number, self.team.size, number, self.team.node_rank)
            place = {**vars(team), "host": host, "port": store.port, "parent": os.getpid()}
            device = str(self._hardware.device_of(number))
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            environment[TEAM] = json.dumps({**place, "device": device})
            self._words[team.rank] = tempfile.TemporaryFile()  # noqa: SIM115
            self._children[team.rank] = subprocess.Popen(
                [sys.executable, *FOLLOWER],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words[team.rank],
                **_separate(),
            )

    def share(self, ticket: Mapping[str, Any], give_up: Callable[[str], None]) -> None:
        """Hand the experiment to the other processes, which begin to train.

        Parameters
        ----------
        ticket
            What `follow` needs.
        give_up
            Called with a message when a process has ended and this one does not notice, because it waits
            for a GPU; the program ends after it.
        """
        if self.team.alone:
            return
        if not self._connected:
            self._connect()
        self._shared = True
        self.team.follow(ticket)
        if self._children:
            threading.Thread(target=self._watch, args=(give_up,), name="crew", daemon=True).start()

    def _connect(self) -> None:
        store = self.store
        if store is not None:
            keys = [f"{_READY}{rank}" for rank in self._children]
            while keys and not store.check(keys):
                if lost := self._lost():
                    raise TrainingError(lost)
                time.sleep(_LOOK_EVERY / 4)
        connect(self.team, self.device, store)
        if store is None:
            self.store = torch.distributed.distributed_c10d._get_default_store()
        self._connected = True

    @contextmanager
    def failures_explained(self) -> Iterator[None]:
        """Say which process failed and why, in the place of a connection that broke.

        Raises
        ------
        TrainingError
            When another process failed.
        """
        try:
            yield
        except SegtrainError:
            raise
        except Exception as error:
            # The connection breaks in the moment in which the other process ends.
            until = time.monotonic() + (_NEWS if isinstance(error, RuntimeError) and self._shared else 0.0)
            while not (lost := self._lost()) and time.monotonic() < until:
                time.sleep(_LOOK_EVERY / 4)
            if lost:
                raise TrainingError(lost) from error
            raise
        finally:
            self._leaving.set()

    def _lost(self) -> str:
        """Say which process has failed; an empty text when none has."""
        if self.team.alone:
            return ""
        with suppress(RuntimeError):
            if self.store is not None and self.store.check([_FAILURE]):
                failure = json.loads(self.store.get(_FAILURE))
                logger.error("process %s: %s", failure["process"], failure["traceback"])
                return f"process {failure['process']} of {self.team.size} failed: {failure['message']}"
        for rank, child in self._children.items():
            if child.poll() not in (None, 0):
                return f"process {rank + 1} of {self.team.size} {self._end_of(rank)}"
        return ""

    def _end_of(self, rank: int) -> str:
        code = self._children[rank].returncode
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            memory = "; mostly that is the system, when memory runs out" if name == "SIGKILL" else ""
            return f"was ended by {name}{memory}"
        self._words[rank].seek(0)
        lines = self._words[rank].read().decode(errors="replace").strip().splitlines()
        return f"ended with exit code {code}" + (f": {lines[-1]}" if lines else "")

    def _watch(self, give_up: Callable[[str], None]) -> None:
        while not self._leaving.wait(_LOOK_EVERY):
            if any(child.poll() not in (None, 0) for child in self._children.values()):
                if not self._leaving.wait(_GRACE):
                    give_up(self._lost())
                    self._kill()
                    os._exit(1)
                return

    def dismiss(self) -> None:
        """Part from the others, who are done too; what follows is this process's own."""
        self._leaving.set()
        if self._connected:
            self._connected = False
            torch.distributed.destroy_process_group()
        until = time.monotonic() + _FAREWELL
        for child in self._children.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, until - time.monotonic()))
        self._kill()
        torch.set_num_threads(self._threads)

    def _abandon(self) -> None:
        """Leave after a failure, and let nobody wait."""
        self._leaving.set()
        if self._connected and self.team.leads and not self._shared:
            with suppress(RuntimeError):
                self.team.follow(None)
        self._kill()
        if self._connected:
            with suppress(RuntimeError):
                torch.distributed.destroy_process_group()
        torch.set_num_threads(self._threads)

    def _kill(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.kill()
            child.wait()


@contextmanager
def failure_told(team: Team, store: Any) -> Iterator[None]:
    """Tell the leader what went wrong in this process, before the connection to it breaks."""
    try:
        yield
    except Exception as error:
        message = str(error) if isinstance(error, SegtrainError) else f"{type(error).__name__}: {error}"
        failure = {"process": team.rank + 1, "message": message, "traceback": traceback.format_exc()}
        # The first one counts: others fail because of it.
        if store is not None:
            with suppress(RuntimeError):
                store.compare_set(_FAILURE, "", json.dumps(failure))
        raise


def ready(team: Team, store: Any) -> None:
    """Tell the leader that this process is about to connect."""
    store.set(f"{_READY}{team.rank}", "1")


def _separate() -> dict[str, Any]:
    """Keep Ctrl-C in the terminal from a process: its leader is asked to stop, and all end together."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
