"""Keys and ids in the paths of requests. Owns: their quoting. Does not own: sending requests (http)."""

from __future__ import annotations

from urllib.parse import quote

from pipeline.errors import Rejected


def segment(text: str) -> str:
    """A key, id or slug as one segment of a path, which cannot become several.

    `.` and `..` are encoded too, since HTTP clients remove such segments. Raises Rejected for an empty text.
    """
    if not text:
        raise Rejected("bad-request", "A key, id or slug is empty.")
    return "%2E" * len(text) if text in (".", "..") else quote(text, safe="")
