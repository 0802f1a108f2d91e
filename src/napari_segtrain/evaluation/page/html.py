"""HTML as values: what is text is escaped, what is markup is said to be."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_TYPES = {".png": "image/png", ".gif": "image/gif"}


class Html(str):
    """Markup; every other text is escaped where it goes into markup."""

    __slots__ = ()


def safe(value: Any) -> Html:
    """Return markup as it is, and anything else as escaped text."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def tag(name: str, *content: Any, **attributes: Any) -> Html:
    """Return an element; attributes that are None are left out, ``class_`` stands for ``class``."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{told}>{''.join(map(safe, content))}</{name}>")


def join(parts: Iterable[Any]) -> Html:
    """Return markup one after the other."""
    return Html("\n".join(map(safe, parts)))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], class_: str = "") -> Html:
    """Return a table; cells that hold a number, or nothing, stand at the right, as the heads above them."""
    rows = list(rows)
    sides = [_side(cell) for cell in rows[0]] if rows else [None] * len(head)
    cells = (tag("th", cell, class_=side) for cell, side in zip(head, sides, strict=True))
    top = tag("tr", *cells) if head else Html("")
    body = [tag("tr", *(tag("td", number(cell), class_=_side(cell)) for cell in row)) for row in rows]
    whole = tag("table", tag("thead", top), tag("tbody", *body), class_=class_ or None)
    return tag("div", whole, class_="wide")


def _side(cell: Any) -> str | None:
    return "number" if cell is None or isinstance(cell, int | float) else None


def number(value: Any) -> Any:
    """Return a number as text of few digits, a dash for what is not defined, anything else as it is."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 100 or value == 0 else f"{value:.4g}"


def details(title: Any, *content: Any, open_: bool = False) -> Html:
    """Return a part that the reader opens."""
    return tag("details", tag("summary", title), *content, open="" if open_ else None)


def picture(path: Path, text: str) -> Html:
    """Return a picture with its content, or a note when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return tag("p", f"{path.name} is not there any more", class_="quiet")
    source = f"data:{_TYPES.get(path.suffix, 'image/png')};base64,{base64.b64encode(data).decode()}"
    escaped = html.escape(text)
    return tag("figure", Html(f'<img src="{source}" alt="{escaped}">'), tag("figcaption", text))


STYLE = Html(
    """
:root { color-scheme: light dark; --ink: #1e2430; --quiet: #667085; --paper: #fff; --line: #d8dde6;
  --soft: #f4f6f9; --deep: 8, 69, 148; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ee; --quiet: #98a2b3; --paper: #15181e;
  --line: #343a46; --soft: #1e222a; --deep: 84, 148, 232; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; margin: .5rem 0; } .quiet, figcaption { color: var(--quiet); font-size: .87rem; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
.badge { border-radius: 1rem; padding: .1rem .7rem; color: #fff; font-size: .9rem; background: #667085; }
.completed { background: #207a4c; } .failed { background: #b42318; } .interrupted { background: #b25e09; }
.warning { border-left: 4px solid #e0a100; background: var(--soft); padding: .4rem .8rem; margin: .4rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.warning.bad { border-color: #b42318; }
pre { background: var(--soft); padding: .8rem; overflow: auto; font-size: .82rem; max-height: 34rem; }
figure { margin: 0 0 .8rem; max-width: 100%; } img { max-width: 100%; border-radius: 4px; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
svg .title { fill: var(--ink); font-size: 13px; font-weight: 600; } svg .grid { stroke: var(--line); }
.confusion td { text-align: center; min-width: 4.6rem; border: 1px solid var(--line); }
.confusion small { color: inherit; opacity: .75; display: block; } .confusion td.strong { color: #fff; }
details { margin: .5rem 0; } summary { cursor: pointer; }
"""
)


def page(title: str, *content: Any) -> str:
    """Return a whole document that needs nothing from anywhere else."""
    head = join(
        (
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            # A browser refuses whatever would be fetched or executed.
            Html(
                '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
                "style-src 'unsafe-inline'\">"
            ),
            tag("title", title),
            tag("style", STYLE),
        )
    )
    whole = join((tag("head", head), tag("body", join(content))))
    return f"<!DOCTYPE html>\n{tag('html', whole, lang='en')}\n"
