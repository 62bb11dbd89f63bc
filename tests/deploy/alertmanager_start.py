"""deploy/alertmanager-start as a container runs it, with a program in the place of Alertmanager that only prints."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.deploy.runbook_text import DEPLOY


def configured(folder: Path, url: str) -> tuple[Path, list[str]]:
    """The configuration for the receiver `url`, and the words with which Alertmanager is started."""
    program = folder / "bin/alertmanager"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join((str(program.parent), os.environ["PATH"]))
    done = subprocess.run(
        ["sh", DEPLOY / "alertmanager-start", DEPLOY / "alertmanager.yml", folder],
        env={"PATH": path, "ALERT_WEBHOOK_URL": url},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert bool(done.stderr) == (not url), "its log has to name what is not set"
    return folder / "alertmanager.yml", done.stdout.splitlines()
