"""Keys and ids in the paths that commands ask for. Owns: their quoting. Does not own: asking (http)."""

from __future__ import annotations

from urllib.parse import quote

from pipeline.errors import Rejected


def segment(text: str) -> str:
    """A key, id or slug as one segment of a path, so that none can leave its place.

    `.` and `..` are encoded too, since HTTP clients remove such segments. Raises Rejected for an empty text.
    """
    if not text:
        raise Rejected("bad-request", "A key, id or slug is empty.")
    return "%2E" * len(text) if text in (".", "..") else quote(text, safe="")
