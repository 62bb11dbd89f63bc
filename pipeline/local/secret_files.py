"""The local stack's own secrets, kept in its folder: its admin key, what signs portal tokens, what seals secrets.

Owns: making each once, and that the API knows the admin key. Does not own: keys (core.access.api_key), the files'
modes (private).
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
    """What portal tokens are signed with: made at the first start, the same ever after."""
    return private.secret(folder / PORTAL_SECRET, lambda: secrets.token_urlsafe(48))


def secrets_key(folder: Path, own: str) -> str:
    """What secrets on topics are sealed with: made at the first start, the same ever after.

    Args:
        folder: of the stack.
        own: the user's setting `secrets_key`; it comes first, so that it seals, and the stack's key still opens.
    """
    made = private.secret(
        folder / SECRETS_KEY, lambda: base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    )
    return ",".join(dict.fromkeys(key for key in (*own.split(","), made) if key))


def admin_key(folder: Path, settings: Settings, say: Say) -> None:
    """Sees to it that the key in the folder opens the API: made and printed at the first start.

    The file is written before anybody knows the key, so that a start cut short can be gone on with.
    """
    path = folder / ADMIN_KEY
    text = private.secret(path, lambda: direct_key.made(ENVIRONMENT).text)
    if _opens(settings, text):
        return
    parts = key_text.read(text)
    if parts is None:
        raise Rejected("bad-key", f"{path} holds no API key; remove it, and the next start makes one.")
    made = api_key.Made(text, parts.public, key_text.digest(parts.secret), parts.secret[-4:])
    is_new = _told(settings, made)
    deadline = time.monotonic() + _KNOWN_S
    while not _opens(settings, text):
        if time.monotonic() > deadline:
            say(f"The key in {path} opens nothing (any more); remove the file to get a new one.")
            return
        time.sleep(0.05)
    if is_new:
        say(f"The admin key of this stack, also in {path}:\n  {text}")


def _told(settings: Settings, made: api_key.Made) -> bool:
    """Whether the control stage did not have the key before. It may still be starting, so it is asked again."""
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
        raise Broken(f"{url} answered {error.code}.") from error
    except OSError as error:
        raise Unavailable(f"The API at {settings.api_url} does not answer: {error}.") from error
