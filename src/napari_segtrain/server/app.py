"""What the server answers: runs of one project, their events, their pictures, and a page that shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from napari_segtrain.config import ConfigError, DataError, RunError, SegtrainError
from napari_segtrain.runs import (
    ActiveRunError,
    RunFolder,
    RunState,
    TableReader,
    all_waiting,
    duplicate_run,
    run_table,
    runs_folder,
)
from napari_segtrain.runs.atomic import dump_json
from napari_segtrain.runs.folder import RUN_FILE
from napari_segtrain.runs.table import RunRow

from .guard import Guard
from .starting import ACTIVE, AgainRequest, DuplicateRequest, Starter, StartRequest
from .stream import HEARTBEAT, begin_at, is_over, stream

PAGE = Path(__file__).parent / "page"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PICTURES = {".png": "image/png", ".gif": "image/gif"}


class _MissingError(RunError):
    """There is no such run or picture."""


class Json(Response):
    """JSON of anything that a run holds, without NaN tokens."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return dump_json(content).encode("utf-8")


class Service:
    """The answers, one method a request.

    Parameters
    ----------
    project
        The folder that holds the runs.
    starter
        Starts them.
    closing
        Whether the server is about to end.
    heartbeat
        Seconds of silence after which a stream shows that it stands.
    """

    def __init__(
        self, project: Path, starter: Starter, closing: Callable[[], bool], heartbeat: float = HEARTBEAT
    ) -> None:
        self.project = project
        self.starter = starter
        self._closing = closing
        self._heartbeat = heartbeat

    async def list(self, request: Request) -> Response:
        """Answer with a row for each run, oldest first, and who is active."""
        return Json(await run_in_threadpool(self._table))

    def _table(self) -> Mapping[str, Any]:
        reader = TableReader()
        rows = reader.read(self.project)
        # What was begun here counts from the moment it was: it takes seconds until it runs, or waits.
        begun = {run.name for run, _ in self.starter.children if run.state is not RunState.RUNNING}
        queue = begun | {holder.run for holder in all_waiting(self.project) if holder.made}
        runs = [{**_row(row), "waiting": row.name in queue} for row in rows]
        return {"project": self.project.name, "active": reader.active, "runs": runs}

    async def start(self, request: Request) -> Response:
        """Start a run; the answer, that it is pending, does not wait for it."""
        wanted = StartRequest.model_validate_json(await request.body())
        run = await run_in_threadpool(self.starter.start, wanted)
        return _begun(run)

    async def resume(self, request: Request) -> Response:
        """Begin a pending run, or go on with an interrupted one."""
        wanted = AgainRequest.model_validate_json(await request.body() or b"{}")
        return _begun(await run_in_threadpool(self.starter.resume, self._run(request), wanted))

    async def retry(self, request: Request) -> Response:
        """Train a failed or interrupted run from its begin."""
        wanted = AgainRequest.model_validate_json(await request.body() or b"{}")
        return _begun(await run_in_threadpool(self.starter.retry, self._run(request), wanted))

    async def duplicate(self, request: Request) -> Response:
        """Make a pending run with the settings and the data of another; a resume begins it."""
        wanted = DuplicateRequest.model_validate_json(await request.body())
        make = partial(duplicate_run, name=wanted.run_name, overrides=wanted.overrides)
        return _begun(await run_in_threadpool(make, self._run(request)), 201)

    async def delete(self, request: Request) -> Response:
        """Delete a run that is not running, with everything in its folder."""
        run = self._run(request)
        await run_in_threadpool(self.starter.delete, run)
        return Json({"name": run.name, "deleted": True})

    async def stop(self, request: Request) -> Response:
        """Ask a run to stop after the batch it is in, or to wait no longer."""
        run = self._run(request)
        await run_in_threadpool(self.starter.stop, run)
        return Json({"name": run.name, "stopping": True}, status_code=202)

    async def show(self, request: Request) -> Response:
        """Answer with everything that is known of a run."""
        return Json(await run_in_threadpool(_details, self._run(request)))

    async def events(self, request: Request) -> Response:
        """Answer with the events of a run, from the first or the last seen on, until it ends."""
        run = self._run(request)
        tail = await run_in_threadpool(begin_at, run, request.headers.get("last-event-id"))
        begun = self.starter.is_begun
        if not begun(run) and await run_in_threadpool(is_over, run, tail):
            return Response(status_code=204)  # tells a browser not to come again
        body = stream(run, tail, heartbeat=self._heartbeat, closing=self._closing, begun=begun)
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(body, media_type="text/event-stream", headers=headers)

    async def picture(self, request: Request) -> Response:
        """Answer with a picture of a run."""
        pictures = {path.name: path for path in _pictures(self._run(request))}
        path = pictures.get(request.path_params["picture"])
        if path is None:
            raise _MissingError(f"there is no picture {request.path_params['picture']!r} of this run")
        return FileResponse(path, media_type=_PICTURES[path.suffix])

    def _run(self, request: Request) -> RunFolder:
        """Return the run that an address names, by its name or its id."""
        wanted = request.path_params["run"]
        path = runs_folder(self.project) / wanted
        if _NAME.fullmatch(wanted) and (path / RUN_FILE).is_file():
            return RunFolder(path)
        for row in run_table(self.project):
            if row.info is not None and row.info.id == wanted:
                return row.run
        raise _MissingError(f"there is no run {wanted!r} in this project")


def make_app(service: Service, token: str | None) -> Starlette:
    """Return the application.

    Parameters
    ----------
    service
        The answers.
    token
        What requests have to bring; None when the server is on loopback alone.
    """
    one = "/api/runs/{run:str}"
    routes = [
        Route("/api/runs", service.list, methods=["GET"]),
        Route("/api/runs", service.start, methods=["POST"]),
        Route(one, service.show, methods=["GET"]),
        Route(one, service.delete, methods=["DELETE"]),
        Route(f"{one}/events", service.events, methods=["GET"]),
        Route(f"{one}/pictures/{{picture:str}}", service.picture, methods=["GET"]),
        Route(f"{one}/resume", service.resume, methods=["POST"]),
        Route(f"{one}/retry", service.retry, methods=["POST"]),
        Route(f"{one}/duplicate", service.duplicate, methods=["POST"]),
        Route(f"{one}/stop", service.stop, methods=["POST"]),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={SegtrainError: _refuse, ValidationError: _refuse_body},
    )


def _begun(run: RunFolder, code: int = 202) -> Response:
    info = run.read_info()
    return Json({"run_id": info.id, "name": run.name, "status": info.status}, status_code=code)


def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, ActiveRunError):
        return Json({"error": ACTIVE, "detail": str(error)}, status_code=409)
    code = (
        404
        if isinstance(error, _MissingError)
        else 422
        if isinstance(error, ConfigError | DataError)
        else 409
    )
    return Json({"error": str(error)}, status_code=code)


def _refuse_body(request: Request, error: Exception) -> Response:
    if not isinstance(error, ValidationError):
        raise error
    faults = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()]
    return Json({"error": "; ".join(faults)}, status_code=422)


def _row(row: RunRow) -> Mapping[str, Any]:
    info = {} if row.info is None else row.info.model_dump(mode="json")
    return {**info, "name": row.name, "fault": row.fault}


def _details(run: RunFolder) -> Mapping[str, Any]:
    """Return everything that is known of a run; a damaged file is a fault in the answer, not an error."""
    faults = []

    def read(what: Callable[[], Any]) -> Any:
        try:
            return what()
        except SegtrainError as error:
            faults.append(str(error))
            return None

    info = read(lambda: run.read_info().model_dump(mode="json"))
    metrics = read(run.read_metrics)
    config = read(lambda: run.read_json("config.json")) if (run.path / "config.json").is_file() else None
    pictures = [{"name": path.name, "time": path.stat().st_mtime} for path in _pictures(run)]
    known = {"run": info, "metrics": metrics or [], "config": config, "pictures": pictures}
    return {**known, "name": run.name, "faults": faults}


def _pictures(run: RunFolder) -> list[Path]:
    """Return the pictures in the run's `plots`, newest first; links that lead elsewhere are none."""
    found = run.plots.iterdir() if run.plots.is_dir() else ()
    real = [path for path in found if path.suffix in _PICTURES and path.is_file() and not path.is_symlink()]
    return sorted(real, key=lambda path: path.stat().st_mtime, reverse=True)
