"""Secrets at rest: sealed with AES-256-GCM before they are written to a topic, opened where they are used.

Owns: the form `sealed:v1:<key id>:<base64 of nonce and ciphertext>` and turning to a new key. Does not own: where keys
come from (the setting `secrets_key`), or chance: the nonce is an argument.
`place` is bound to what is sealed: moved to another place it does not open.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.errors import Broken, Rejected

PREFIX = "sealed:v1:"
KEY_BYTES, NONCE_BYTES = 32, 12
_KEY_ID_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class Seal:
    """The keys by their id; the first of `keys` seals, every one opens. Its repr shows no key."""

    keys: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, setting: str) -> Seal:
        """From the setting: base64 of 32 bytes each, with commas between them; empty: nothing is sealed."""
        keys = tuple(base64.b64decode(one, validate=True) for one in setting.split(",") if one)
        if any(len(key) != KEY_BYTES for key in keys):
            raise Rejected("bad-setting", f"secrets_key holds a key that has not {KEY_BYTES} bytes.")
        return cls(keys)

    def close(self, secret: str, place: str, nonce: bytes) -> str:
        """The sealed text; without a key the secret itself. nonce: 12 random bytes, never used twice."""
        if not self.keys:
            return secret
        if len(nonce) != NONCE_BYTES:
            raise Broken(f"A nonce has {NONCE_BYTES} bytes, not {len(nonce)}.")
        key = self.keys[0]
        sealed = nonce + AESGCM(key).encrypt(nonce, secret.encode(), place.encode())
        return f"{PREFIX}{_key_id(key)}:{base64.b64encode(sealed).decode()}"

    def open(self, text: str, place: str) -> str:
        """The secret; a text that was never sealed is one. Raises Rejected("sealed") if no key opens it here."""
        if not text.startswith(PREFIX):
            return text
        key_id, _, encoded = text[len(PREFIX) :].partition(":")
        key = next((key for key in self.keys if _key_id(key) == key_id), None)
        if key is None:
            raise Rejected("sealed", f"secrets_key does not hold the key {key_id[:_KEY_ID_CHARACTERS]}.")
        try:
            raw = base64.b64decode(encoded, validate=True)
            return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode()).decode()
        except (binascii.Error, InvalidTag, ValueError):
            raise Rejected("sealed", "The sealed secret was changed, or belongs to another place.") from None


def _key_id(key: bytes) -> str:
    return sha256(b"tallymark secrets_key" + key).hexdigest()[:_KEY_ID_CHARACTERS]
