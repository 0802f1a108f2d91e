from __future__ import annotations

import pytest

from napari_segtrain.server.guard import is_loopback

TOKEN = "0123456789"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_addresses_of_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_without_a_token_only_names_of_this_machine_are_taken(served) -> None:
    for host in ("localhost:1", "127.0.0.1", "[::1]:8"):
        assert served.ask("/api/runs", Host=host).code == 200, host
    for host in ("evil.example.org", "evil.example.org:80", "127.0.0.1.example.org", ""):
        assert served.ask("/api/runs", Host=host).code == 403, host


def test_pages_of_other_sites_change_nothing(served) -> None:
    own = f"http://127.0.0.1:{served.port}"
    for origin in ("https://evil.example.org", "null", "http://127.0.0.1:1"):
        assert served.ask("/api/runs", {"data": "x"}, Origin=origin).code == 403, origin
    assert served.ask("/api/runs", {"data": "x"}, Origin=own).code == 422
    assert served.ask("/api/runs", b"data=x", Content_Type="text/plain").code == 415
    assert served.ask("/api/runs", method="POST").code == 415
    headers = served.ask("/").headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"


def test_with_a_token_every_request_needs_it(serve, completed) -> None:
    served = serve(token=TOKEN)
    for path in ("/", "/page.js", "/api/runs", "/api/runs/done/events", "/api/runs/done?token=" + TOKEN):
        assert served.ask(path).code == 401, path
    assert served.ask("/api/runs", {"data": "x"}).code == 401
    for given in ("wrong", TOKEN[:-1], TOKEN + "1", "é"):
        assert served.ask("/api/runs", Authorization=f"Bearer {given}".encode().decode("latin-1")).code == 401
    assert served.ask("/api/runs", Authorization=f"Basic {TOKEN}").code == 401
    assert served.ask("/api/runs", Authorization=f"Bearer {TOKEN}", Host="node7:8765").code == 200


def test_the_page_gets_the_token_once_and_keeps_it_as_a_cookie(serve) -> None:
    served = serve(token=TOKEN)
    assert served.ask("/?token=wrong-one").code == 401
    welcome = served.ask(f"/?token={TOKEN}")
    assert (welcome.code, welcome.headers["location"]) == (303, "/")
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert served.ask("/api/runs", Cookie=cookie.partition(";")[0]).code == 200
    assert served.ask("/api/runs", Cookie="segtrain_token=wrong").code == 401
