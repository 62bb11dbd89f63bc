"""How an API key is written: `um_<env>_<8 public>_<43 secret>_<6 checksum>`, base62.

Owns: the text form, its checksum and the digest that is stored. Does not own: randomness (who makes a key), what a key
may do (core.access.api_key). The checksum finds a mistyped key, or recognises a key in a text, without a look-up.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import NamedTuple

from pipeline.errors import Rejected

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PUBLIC_LENGTH = 8
SECRET_LENGTH = 43  # 43 x log2(62) = 256 bits
CHECKSUM_LENGTH = 6
_FORM = re.compile(
    r"um_([a-z]{1,16})_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})_([0-9A-Za-z]{6})",
    re.ASCII,
)


class KeyText(NamedTuple):
    """The parts of a key whose form and checksum are right. Whether it opens anything is for `ApiKey.holds`."""

    environment: str
    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyText({self.environment}, {self.public}, ***)"


def write(environment: str, public: str, secret: str) -> str:
    """The whole key, to be shown once.

    Args:
        environment: 1 to 16 lower-case letters.
        public: PUBLIC_LENGTH characters of ALPHABET.
        secret: SECRET_LENGTH characters of ALPHABET.

    Raises:
        Rejected: `bad-key` when a part has the wrong form.

    >>> write("live", "a" * 8, "b" * 43)
    'um_live_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb_3MyxYS'
    """
    body = f"um_{environment}_{public}_{secret}"
    text = f"{body}_{_checksum(body)}"
    if _FORM.fullmatch(text) is None:
        raise Rejected("bad-key", "A part of the key has the wrong form.")
    return text


def read(text: str) -> KeyText | None:
    """The parts of a key; None when its form or its checksum is wrong."""
    match = _FORM.fullmatch(text)
    if match is None or _checksum(text[: -CHECKSUM_LENGTH - 1]) != match[4]:
        return None
    return KeyText(match[1], match[2], match[3])


def digest(secret: str) -> str:
    """What is stored of a secret: SHA-256 in hex. A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        text = ALPHABET[digit] + text
    return text
