"""Makes `_async_resources.py` from `_resources.py`: run it after a change there. A test checks that it was."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parent / "src" / "tallymark" / "_resources.py"
TARGET = SOURCE.with_name("_async_resources.py")
CLASSES = ("Meters", "Events", "Customers", "Features", "Subjects", "PortalTokens")


def async_text(text: str) -> str:
    """The module with awaited calls."""
    text = re.sub(r"^    def (?!__init__)", "    async def ", text, flags=re.MULTILINE)
    text = text.replace("return self._do(", "return await self._do(")
    text = re.sub(r"\bDo\b", "AsyncDo", text)
    for name in CLASSES:
        text = re.sub(rf"\b(?<!_){name}\b(?=[:(,\]])", f"Async{name}", text)
    return text.replace(
        "`_async_resources` is made from this file.", "Made by make_async.py from `_resources`."
    ).replace("on meters, events", "of the async client on meters, events")


if __name__ == "__main__":
    TARGET.write_text(async_text(SOURCE.read_text()))
