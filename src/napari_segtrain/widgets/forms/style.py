"""How the docks look, in the colours of napari's theme, light or dark; and their defaults."""

from __future__ import annotations

from pathlib import Path

DEFAULT_PROJECT = Path.home() / "napari-segtrain"
"""Where runs go when the user says nothing."""

STYLE = """
QLabel#title { font-size: 13px; font-weight: 600; }
QFrame#card { border: 1px solid rgba(128, 128, 128, 90); border-radius: 4px; }
QFrame#card QLineEdit#name { font-weight: 600; }
QPushButton#start, QPushButton#predict { font-weight: 600; }
QPushButton#start, QPushButton#wait, QPushButton#predict { min-height: 26px; }
"""
