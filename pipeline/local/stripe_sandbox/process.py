"""The sandbox as a part of the local stack.

Owns: its key, its process, whether it answers. Does not own: keeping it running (supervisor), its command line
(__main__).
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.local import private, process

KEY_FILE = "stripe.key"


def key_of(folder: Path) -> str:
    """The secret key of the sandbox in a folder: made at the first call, the same ever after."""
    return private.secret(folder / KEY_FILE, lambda: f"sk_test_sandbox{secrets.token_hex(12)}")


class SandboxProcess:
    """A sandbox whose key and journal are in `folder`. url: the value of the setting `stripe_address`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://{process.HOST}:{port}"
        self.log = folder / "logs" / "stripe.log"
        self._folder, self._port = folder, port

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it and return at once."""
        argv = [sys.executable, "-m", "pipeline.local.stripe_sandbox", "--data", str(self._folder)]
        return process.spawn([*argv, "--port", str(self._port)], self.log)

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/sandbox", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
