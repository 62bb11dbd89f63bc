"""The command line: help with an example everywhere, exit codes, one sentence an error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import Tallymark, main
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from tests.fixtures.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str, **variables: str) -> Result:
    return CliRunner().invoke(main, words, env=variables, catch_exceptions=False)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("words", [(), *commands(main)], ids=lambda words: " ".join(words) or "tallymark")
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert "tallymark" in result.stdout.partition("Example")[2]


@pytest.mark.parametrize("words", [(), ("meters",), ("topics",)], ids=" ".join)
def test_no_summary_is_cut_on_a_narrow_terminal(words: tuple[str, ...]) -> None:
    assert "..." not in run(*words, "--help").stdout.partition("Commands:")[2]


HEAVY = {"faust", "confluent_kafka", "fastapi", "httpx", "rich", "chdb", "asyncio", "pydantic_settings"}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("pipeline.cli", {*HEAVY, "pydantic"}),
        ("pipeline.cli, pipeline.cli.http, pipeline.settings", HEAVY),
    ],
    ids=["help", "asking the API"],
)
def test_a_command_imports_nothing_heavy(modules: str, heavy: set[str]) -> None:
    code = f"import sys, {modules}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "code"),
    [(Rejected("slug", "It is wrong."), 2), (Unavailable("It is down."), 3), (Broken("It broke."), 4)],
)
def test_an_error_is_one_sentence_and_its_exit_code(error: Exception, code: int) -> None:
    @click.group(cls=Tallymark)
    def failing() -> None:
        pass

    @failing.command()
    def command() -> None:
        raise error

    result = CliRunner().invoke(failing, ["command"], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (code, f"error: {error}\n")


@pytest.mark.services  # it waits as long as a person who checks topics: 10 s
def test_an_unavailable_broker_is_exit_code_3() -> None:
    result = run("topics", "check", TALLYMARK_KAFKA="127.0.0.1:1")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: Kafka at 127.0.0.1:1 does not answer: ")
    assert "Connection refused" in result.stderr and result.stderr.count("\n") == 1


def test_a_wrong_setting_is_exit_code_2() -> None:
    result = run("topics", "apply", TALLYMARK_PARTITIONS="many")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: TALLYMARK_PARTITIONS is wrong: ")


def test_an_unknown_stage_is_exit_code_2_and_names_the_stages() -> None:
    result = run("worker", "mailing")
    assert result.exit_code == 2
    assert all(stage in result.stderr for stage in STAGES)


def test_a_lost_topic_is_named_refused_and_recreated_on_request(fresh_topics: Settings) -> None:
    client = kafka.admin(fresh_topics)
    (future,) = client.delete_topics(["usage"], operation_timeout=30).values()
    future.result()
    deadline = time.monotonic() + PATIENCE_S
    while "usage" in kafka.cluster(fresh_topics).topics:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    there = {"TALLYMARK_KAFKA": fresh_topics.kafka}
    missing = run("topics", "check", **there)
    assert missing.exit_code == 1
    assert "usage is missing, but the state of this installation was built with it." in missing.stdout
    assert "`tallymark topics apply --recreate-lost usage`. That loses: windows" in missing.stdout
    refused = run("topics", "apply", **there)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "usage is missing" in refused.stderr
    made = run("topics", "apply", "--recreate-lost", "usage", **there)
    assert made.exit_code == 0, made.stderr
    assert "recreated usage: its id is " in made.stdout
    again = run("topics", "check", **there)
    assert (again.exit_code, again.stdout.split(" ", 1)[1]) == (
        0,
        f"topics on {fresh_topics.kafka} are as declared.\n",
    )


def test_settings_are_shown_with_their_origin_and_without_secrets() -> None:
    Path("tallymark.toml").write_text('partitions = 9\nredis_password = "hush"\n')
    result = run("settings", TALLYMARK_KAFKA="127.0.0.1:1", TALLYMARK_TYPO="1")
    lines = {line.split()[0]: line.split()[1:3] for line in result.stdout.splitlines()}
    assert lines["file:"] == ["tallymark.toml"]
    assert lines["kafka"] == ["127.0.0.1:1", "env"]
    assert lines["partitions"] == ["9", "file"]
    assert lines["redis_password"] == ["***", "file"]
    assert lines["api_port"] == ["8888", "default"]
    assert "hush" not in result.output
    assert result.stderr == "warning: TALLYMARK_TYPO is set, but there is no such setting.\n"


def test_settings_as_json() -> None:
    rows = json.loads(run("settings", "--format", "json", TALLYMARK_PARTITIONS="9").stdout)
    assert {"setting": "partitions", "value": "9", "from": "env"}.items() <= next(
        row.items() for row in rows if row["setting"] == "partitions"
    )


def test_differences_of_topics_as_json(settings: Settings) -> None:
    result = run("topics", "check", "--format", "json", TALLYMARK_KAFKA=settings.kafka)
    rows = json.loads(result.stdout)
    assert result.exit_code == (1 if rows else 0)
    assert all(row.keys() == {"topic", "kind", "detail"} for row in rows)
