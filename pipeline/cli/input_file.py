"""The input files of commands: JSON, or TOML for some commands.

Owns: reading a file, and the sentence when that fails. Does not own: the meaning of its members (the API).
"""

from __future__ import annotations

from typing import IO, Any

from pipeline.core.values import json_value, strict_toml
from pipeline.errors import Rejected

MAX_BYTES = 1 << 20  # the API's limit


def read_object(file: IO[bytes]) -> dict[str, Any]:
    """The JSON object in a file, fractions as Decimal. Raises Rejected `bad-request`, which names the file."""
    try:
        found = json_value.read_decimals(_content(file))
    except Rejected as error:
        raise Rejected("bad-request", json_value.sentence_about(name_of(file), error)) from error
    if not isinstance(found, dict):
        raise Rejected("bad-request", f"{name_of(file)} must hold a JSON object.")
    return found


def read_meters(file: IO[bytes]) -> list[dict[str, Any]]:
    """The meters of a JSON or TOML file: a list, or an object with `meters`. Raises Rejected `bad-meter`."""
    return parse_meters(_content(file), name_of(file))


def parse_meters(text: bytes, name: str) -> list[dict[str, Any]]:
    """Like `read_meters`, from a text. name: of the file; with the ending .json it must be JSON."""
    found: Any
    try:
        found = json_value.read(text)
    except Rejected as error:
        if name.endswith(".json"):
            raise Rejected("bad-meter", json_value.sentence_about(name, error)) from error
        try:
            found = strict_toml.read(text)
        except Rejected as worse:
            detail = f"{name} is neither JSON nor TOML. As JSON: {error.detail} As TOML: {worse.detail}"
            raise Rejected("bad-meter", detail) from worse
    if isinstance(found, dict):
        found = found.get("meters")
    if not isinstance(found, list) or not all(isinstance(meter, dict) for meter in found):
        raise Rejected("bad-meter", f'{name} must hold a list of meters: [...] or {{"meters": [...]}}.')
    return found


def name_of(file: IO[bytes]) -> str:
    """The name of the file in a sentence."""
    return str(getattr(file, "name", "<stdin>"))


def _content(file: IO[bytes]) -> bytes:
    try:
        content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Rejected("bad-file", f"{name_of(file)} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise Rejected("too-large", f"{name_of(file)} has more than {MAX_BYTES} bytes; split it.")
    return content
