"""``segtrain serve``: runs of a project over HTTP. Only serving needs the extra ``[server]``."""

from .serving import serve

__all__ = ["serve"]
