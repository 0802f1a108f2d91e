"""``segtrain serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    project: Annotated[Path, typer.Argument(help="Project folder; made when absent.")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than loopback need a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8765,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="SEGTRAIN_TOKEN", help="What every request has to bring."),
    ] = None,
) -> None:
    """Serve the runs of a project over HTTP: start, list, follow, stop, and a page with live curves.

    A training that was started here goes on when the server ends; see docs/how-to/serve.md for the addresses.
    Needs: pip install "napari-segtrain[server]"
    """
    from napari_segtrain.server import serve as serve_project

    serve_project(project, host, port, token, typer.echo)
