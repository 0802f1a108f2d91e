"""Names of a package that load with their first use: importing it does not wait for torch or numba."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, files: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package (PEP 562).

    Parameters
    ----------
    package
        The package's ``__name__``.
    files
        By name, the module of the package that has it. Type checkers read the imports under
        ``TYPE_CHECKING``.
    """

    def get(name: str) -> Any:
        if name not in files:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{files[name]}", package), name)

    return get
