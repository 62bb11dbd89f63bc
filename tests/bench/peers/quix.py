"""Quix Streams: an environment of its own, because it needs another version of confluent-kafka than Tallymark.

Owns: that environment, one process a stage. Does not own: what they compute (quix_stage).
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from pipeline.errors import Unavailable
from pipeline.local import process
from tests.bench.peers.engine import Peer, write_meters
from tests.bench.stages import STAGES

SCRIPT = Path(__file__).with_name("quix_stage.py")
VERSION = "3.28.1"
HOME = Path(f"~/.cache/tallymark/quixstreams-{VERSION}-{sys.version_info.major}.{sys.version_info.minor}")


class Quix(Peer):
    """Three processes, like the stages of Tallymark."""

    name = "Quix Streams, exactly once"
    exactly_once = True

    @classmethod
    def python(cls) -> Path:
        """The interpreter of the environment."""
        return HOME.expanduser() / "bin" / "python"

    @classmethod
    def install(cls) -> None:
        installed = HOME.expanduser() / "installed"
        if installed.exists():
            return
        print(f"installing quixstreams {VERSION} (once)", file=sys.stderr, flush=True)
        try:
            venv.create(HOME.expanduser(), with_pip=True, clear=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"an environment for quixstreams cannot be created: {error}") from error
        command = [str(cls.python()), "-m", "pip", "install", "-q", f"quixstreams=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(
                f"quixstreams {VERSION} cannot be installed: {done.stderr.strip().splitlines()[-1]}"
            )
        installed.touch()

    def start(self) -> list[subprocess.Popen[bytes]]:
        meters = write_meters(self._meters, self._folder)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return [
            process.spawn(
                [self.python(), SCRIPT, stage, self._settings.kafka, self._folder / stage, meters],
                self._folder / f"{stage}.log",
                environment,
            )
            for stage in STAGES
        ]
