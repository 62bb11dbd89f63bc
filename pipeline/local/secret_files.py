"""The secrets of the local stack, in its folder: the admin key, the portal secret, the key for stored secrets.

Owns: creating each once, and making the admin key valid for the API. Does not own: keys (core.access.api_key), the
modes of files (private).
"""

from __future__ import annotations

import base64
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.core.access import api_key, key_text
from pipeline.core.values.sealed import KEY_BYTES
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.local import private
from pipeline.local.supervisor import Say
from pipeline.settings import Settings
from pipeline.stores.kafka import direct_key

ADMIN_KEY = "admin.key"
PORTAL_SECRET = "portal.secret"
SECRETS_KEY = "secrets.key"
ENVIRONMENT = "local"
NAMESPACE = "default"
_DECIDED_S = 90.0
_KNOWN_S = 10.0


def portal_secret(folder: Path) -> str:
    """The secret that signs portal tokens: created at the first start, the same ever after."""
    return private.secret(folder / PORTAL_SECRET, lambda: secrets.token_urlsafe(48))


def secrets_key(folder: Path, own: str) -> str:
    """The keys for stored secrets. The stack's own is created at the first start, the same ever after.

    Args:
        folder: Of the stack.
        own: The user's setting `secrets_key`; it comes first, so that it encrypts, and the stack's key still decrypts.
    """
    made = private.secret(
        folder / SECRETS_KEY, lambda: base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    )
    return ",".join(dict.fromkeys(key for key in (*own.split(","), made) if key))


def admin_key(folder: Path, settings: Settings, say: Say) -> None:
    """Ensure that the API accepts the key in the folder; it is created and printed at the first start.

    The file is written before the key is registered, so that an interrupted start can be continued.
    """
    path = folder / ADMIN_KEY
    text = private.secret(path, lambda: direct_key.made(ENVIRONMENT).text)
    if _opens(settings, text):
        return
    parts = key_text.read(text)
    if parts is None:
        raise Rejected("bad-key", f"{path} holds no API key; remove it, and the next start creates one.")
    made = api_key.Made(text, parts.public, key_text.digest(parts.secret), parts.secret[-4:])
    is_new = _registered(settings, made)
    deadline = time.monotonic() + _KNOWN_S
    while not _opens(settings, text):
        if time.monotonic() > deadline:
            say(f"The API does not accept the key in {path}; remove the file to get a new one.")
            return
        time.sleep(0.05)
    if is_new:
        say(f"The admin key of this stack, also in {path}:\n  {text}")


def _registered(settings: Settings, made: api_key.Made) -> bool:
    """Register the key. Returns False if it existed before. Retries while the control stage is starting."""
    deadline = time.monotonic() + _DECIDED_S
    while True:
        try:
            direct_key.create(settings, NAMESPACE, made, "local admin", [api_key.ADMIN])
            return True
        except Rejected as refusal:
            if refusal.reason != "key-conflict":
                raise
            return False
        except Unavailable:
            if time.monotonic() > deadline:
                raise


def _opens(settings: Settings, text: str) -> bool:
    url = f"{settings.api_url}/api/v1/status"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {text}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return False
        raise Broken(f"{url} responded with {error.code}.") from error
    except OSError as error:
        raise Unavailable(f"The API at {settings.api_url} does not answer: {error}.") from error
