"""What the local stack keeps is its owner's alone, and a folder that is not its own keeps its mode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.local import private, process, secret_files


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def usual_umask() -> None:
    os.umask(0o022)


def test_a_new_folder_is_closed(tmp_path: Path) -> None:
    assert mode(private.base(tmp_path / "a" / "b")) == 0o700
    assert mode(private.folder(tmp_path / "c")) == 0o700


def test_a_stacks_folder_of_before_is_closed(tmp_path: Path) -> None:
    for name, inside in (("empty", ""), ("used", "lock"), ("other", "photo.jpg")):
        folder = tmp_path / name
        folder.mkdir(mode=0o755)
        if inside:
            (folder / inside).touch()
        private.base(folder)
    assert mode(tmp_path / "empty") == mode(tmp_path / "used") == 0o700
    assert mode(tmp_path / "other") == 0o755, "it holds something else, so it is not ours to close"
    (tmp_path / "kafka").mkdir(mode=0o755)
    assert mode(private.folder(tmp_path / "kafka")) == 0o700


def test_a_secret_is_made_once_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert private.secret(path, lambda: "one") == "one"
    assert private.secret(path, lambda: "two") == "one"
    path.chmod(0o644)
    assert private.read(path) == "one"
    assert mode(path) == 0o600
    path.write_text("\n")
    assert private.secret(path, lambda: "two") == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_the_secrets_key_of_the_user_seals_and_the_stacks_own_still_opens(tmp_path: Path) -> None:
    made = secret_files.secrets_key(tmp_path, "")
    assert secret_files.secrets_key(tmp_path, "") == made
    assert secret_files.secrets_key(tmp_path, "mine,older") == f"mine,older,{made}"
    assert secret_files.secrets_key(tmp_path, made) == made
    assert mode(tmp_path / secret_files.SECRETS_KEY) == 0o600


def test_what_a_process_of_the_stack_writes_is_closed(tmp_path: Path) -> None:
    write = "from pathlib import Path; Path('out').touch(); Path('folder').mkdir()"
    os.chdir(tmp_path)
    assert process.spawn([sys.executable, "-c", write], tmp_path / "log").wait(30) == 0
    assert (mode(tmp_path / "out"), mode(tmp_path / "folder")) == (0o600, 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_another_user_reads_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if "pytest" in parent.name:
            parent.chmod(0o755)
    base = private.base(tmp_path / "stack")
    private.secret(base / "admin.key", lambda: "secret")
    read = subprocess.run(["cat", base / "admin.key"], user="nobody", capture_output=True, check=False)
    assert (read.returncode, read.stdout) == (1, b"")
    base.chmod(0o755)
    read = subprocess.run(["cat", base / "admin.key"], user="nobody", capture_output=True, check=False)
    assert (read.returncode, read.stdout) == (1, b"")
