"""The containers of one compose project, and faults in them.

Owns: the commands of compose and docker. Does not own: what is sent and compared (usage), the order (checks).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROJECT = os.environ.get("COMPOSE_PROJECT_NAME", "tallymarktest")
COMPOSE = os.environ.get("COMPOSE", "docker-compose").split()
ROOT = Path(__file__).parents[2]
MOST_PAUSE_S = 1.5
HERE = Path(__file__).parent


class Failed(Exception):
    """A check found something else than it must."""


def run(*command: str, cwd: Path = ROOT, expect: int | None = 0) -> str:
    """The output of a command. expect: its exit code; None: any."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if expect is not None and done.returncode != expect:
        raise Failed(
            f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}"
        )
    return done.stdout


def docker(*arguments: str, expect: int | None = 0) -> str:
    return run("docker", *arguments, expect=expect)


def compose(*arguments: str, root: Path = ROOT) -> str:
    """A command of compose, on the file in the folder `root`."""
    files = [root / "docker-compose.yml", HERE / "sandbox.yml"]
    if root == ROOT:  # an earlier version may have no Alertmanager
        files.append(HERE / "receiver.yml")
    named = [word for file in files for word in ("-f", str(file))]
    return run(*COMPOSE, "-p", PROJECT, *named, *arguments, cwd=root)


def containers(service: str = "") -> list[str]:
    """The ids of the running containers of a service; without one, of the project."""
    label = f"com.docker.compose.service={service}" if service else f"com.docker.compose.project={PROJECT}"
    return docker("ps", "-q", "--filter", f"label={label}").split()


def inspected(ids: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
    return found


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def run_in(service: str, *command: str, expect: int | None = 0) -> str:
    """The output of a command in the first container of a service."""
    return docker("exec", containers(service)[0], *command, expect=expect)


def kill_process(service: str) -> str:
    """Send SIGKILL to the first process of a container, from the host. Returns the container's id."""
    id = containers(service)[0]
    os.kill(inspected([id])[0]["State"]["Pid"], signal.SIGKILL)
    return id


def wait_for(what: str, is_true: Callable[[], bool], limit_s: float = 240.0) -> None:
    """Return when it is true. Raises Failed after the limit, with the last error.

    The pauses grow up to MOST_PAUSE_S, since an answer costs what is waited for CPU.
    """
    deadline_s, last, pause_s = time.monotonic() + limit_s, "", 0.2
    while time.monotonic() < deadline_s:
        try:
            if is_true():
                return
        except (OSError, Failed, LookupError, ValueError) as error:
            last = f": {error}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, MOST_PAUSE_S)
    raise Failed(f"{what}: not within {limit_s:.0f} s{last}")
