"""Who may talk to the server: this machine, or whoever has the token; and no page of another site."""

from __future__ import annotations

import ipaddress
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import URL, Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "segtrain_token"
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets a request through, or answers it.

    Without a token only requests to a loopback name are taken: a page of another site that has its own name
    point to this machine (DNS rebinding) asks for another one. Requests that change something are not taken
    from other sites either: their origin is not ours, or their body is not JSON, which a form cannot send.

    Parameters
    ----------
    app
        What answers the requests that may pass.
    token
        What a request has to bring: as ``Authorization: Bearer TOKEN``, as a cookie, or once in the address
        (``/?token=TOKEN``), which sets the cookie. None when the server is on loopback alone.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = self._refusal(Request(scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await (answer if answer is not None else self.app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        if self.token is None:
            if not is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or ""):
                return _error(403, "this server answers to localhost only; see segtrain serve --host")
        elif not self._has_token(request):
            given = request.query_params.get("token", "")
            if request.method == "GET" and request.url.path == "/" and self._is_token(given):
                welcome = RedirectResponse(str(URL("/")), status_code=303)
                welcome.set_cookie(COOKIE, given, httponly=True, samesite="strict")
                return welcome
            return _error(401, "a token is needed: Authorization: Bearer TOKEN, or open /?token=TOKEN")
        if request.method not in ("GET", "HEAD"):
            return _foreign(request.headers)
        return None

    def _has_token(self, request: Request) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return (kind.lower() == "bearer" and self._is_token(token)) or self._is_token(
            request.cookies.get(COOKIE, "")
        )

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self.token or "").encode())


def _foreign(headers: Headers) -> Response | None:
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return _error(403, f"requests of {origin} are not taken")
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _error(415, "send JSON, with the header Content-Type: application/json")
    return None


def _error(code: int, words: str) -> Response:
    return JSONResponse({"error": words}, status_code=code)
