"""The commands of users against a served API, a real broker and a real ClickHouse: output and exit codes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, TopicPartition

from pipeline.api.app import create_app
from pipeline.cli import metering, output
from pipeline.cli.input_file import parse_meters
from pipeline.cli.main import main
from pipeline.cli.send import CONTENT_TYPE, key_of
from pipeline.errors import Rejected
from pipeline.local import process
from pipeline.records import Event, Refused, Settled
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import settled_columns
from pipeline.stores.kafka import client as kafka
from tests.fixtures.api_server import served_app
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.hostile_json import TEXTS, VALUES
from tests.fixtures.stored_rows import write

Run = Callable[..., Result]
METERS = """
[[meters]]
slug = "tokens"
eventType = "prompt"
aggregation = "SUM"
valueProperty = "$.tokens"
groupBy = { model = "$.model" }
"""


@pytest.fixture(scope="module")
def url(served: Settings, decider: ControlStage, store: ClickHouse) -> Iterator[str]:
    """An API with one meter and four counted events."""
    write(store, [("acme", 0, "small"), ("acme", 0, "small"), ("acme", 1, "large"), ("zeta", 90, "small")])
    with served_app(create_app(served)) as address:
        yield address


@pytest.fixture
def run(served: Settings, url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `tallymark ARGUMENTS`."""
    monkeypatch.setenv("TALLYMARK_KAFKA", served.kafka)
    monkeypatch.setenv("TALLYMARK_API_URL", url)

    def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin)

    return run


@pytest.fixture
def tokens(run: Run, tmp_path: Path) -> Run:
    file = tmp_path / "meters.toml"
    file.write_text(METERS)
    result = run("meters", "apply", str(file))
    assert (result.exit_code, result.stdout) == (0, "tokens: SUM of prompt, revision 1\n"), result.output
    return run


def test_meters_list(tokens: Run) -> None:
    (listed,) = json.loads(tokens("meters", "list", "--format", "json").stdout)
    assert listed["slug"] == "tokens"
    assert tokens("meters", "list").stdout.splitlines() == [
        "slug    aggregation  event type  value     group by  revision",
        "tokens  SUM          prompt      $.tokens  model     1",
    ]


def test_meters_delete_what_is_not_there(tokens: Run) -> None:
    result = tokens("meters", "delete", "calls")
    assert (result.exit_code, result.stderr) == (2, "error: There is no meter with the slug calls.\n")


def test_meters_apply_refuses_what_openmeter_refuses(tokens: Run) -> None:
    result = tokens("meters", "apply", "-", stdin='[{"slug": "x", "aggregation": "COUNT"}]')
    assert (result.exit_code, result.stderr) == (2, "error: meter event type is required\n")


def test_usage_rows_are_the_contract(tokens: Run) -> None:
    asked = "--window hour --tz Europe/Berlin --group-by model,subject --filter model=small --subject acme"
    result = tokens("usage", "tokens", *asked.split(), "--format", "jsonl")
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {
            "meter": "tokens",
            "subject": "acme",
            "window": "HOUR",
            "tz": "Europe/Berlin",
            "start": "2026-01-01T12:00:00Z",
            "end": "2026-01-01T13:00:00Z",
            "group": {"model": "small"},
            "value": "3",
            "count": 2,
        }
    ]
    (total,) = json.loads(tokens("usage", "tokens", "--format", "json").stdout)
    assert (total["subject"], total["window"], total["value"], total["count"]) == (None, None, "6", 4)


def test_usage_as_table_and_csv(tokens: Run) -> None:
    asked = ("usage", "tokens", "--window", "DAY", "--group-by", "subject")
    assert tokens(*asked).stdout.splitlines() == [
        "start                 end                   subject  value  count",
        "2026-01-01T00:00:00Z  2026-01-02T00:00:00Z  acme       4.5      3",
        "2026-01-01T00:00:00Z  2026-01-02T00:00:00Z  zeta       1.5      1",
    ]
    assert tokens(*asked, "--format", "csv").stdout.splitlines() == [
        "window_start,window_end,subject,value",
        "2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,acme,4.5",
        "2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,zeta,1.5",
    ]


def test_a_table_shows_times_as_the_clock_of_the_zone(tokens: Run) -> None:
    result = tokens("usage", "tokens", "--window", "DAY", "--tz", "Europe/Berlin")
    assert result.stdout.splitlines()[1].split()[:2] == [
        "2026-01-01T00:00:00+01:00",
        "2026-01-02T00:00:00+01:00",
    ]


def test_meters_apply_of_nothing_says_so(run: Run) -> None:
    assert run("meters", "apply", "-", stdin="[]").stdout == "The list is empty: nothing is changed.\n"


def test_another_server_at_the_address_of_the_api(
    run: Run,
    chdb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TALLYMARK_API_URL", "http://" + chdb.rpartition("@")[2].partition("/")[0])
    result = run("status")
    assert result.exit_code == 4
    assert "not as Tallymark's API does" in result.stderr


def test_usage_of_nothing(tokens: Run) -> None:
    assert tokens("usage", "tokens", "--from", "2030-01-01", "--format", "jsonl").stdout == ""
    assert tokens("usage", "tokens", "--from", "2030-01-01").stdout == "start  end  value  count\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--filter", "model"), "--filter model does not have the form k=v."),
        (("--group-by", "kind"), "invalid group by: kind"),
        (("--tz", "Mars/Base"), "invalid time zone: Mars/Base"),
    ],
)
def test_a_wrong_usage_query(tokens: Run, arguments: tuple[str, ...], sentence: str) -> None:
    result = tokens("usage", "tokens", *arguments)
    assert (result.exit_code, result.stderr) == (2, f"error: {sentence}\n")


def test_events(tokens: Run) -> None:
    rows = [
        json.loads(line)
        for line in tokens("events", "--subject", "acme", "--format", "jsonl").stdout.splitlines()
    ]
    assert [row["event"]["id"] for row in rows] == ["2", "1", "0"]
    table = tokens("events", "--id", "3").stdout.splitlines()
    assert table[0].split() == ["time", "subject", "type", "id", "source", "fate", "reason", "meters"]
    assert table[1].split() == [
        "2026-01-01T13:30:00.000000005Z",
        "zeta",
        "prompt",
        "3",
        "s",
        "counted",
        "tokens",
    ]


def test_events_that_a_meter_refused(tokens: Run, store: ClickHouse) -> None:
    raw = msgspec.Raw(b'{"tokens":"1,200"}')
    at_ns = 1_767_268_800_000_000_000
    event = Event("default", "s", "bad", "prompt", "lost", at_ns, 1, "events", 0, 77, raw)
    why = Refused(1, "tokens", "value-not-a-number", "value cannot be parsed as a number: 1,200")
    row = Settled(event, "invalid", f"tokens: {why.detail}", [], 1, None, 1, [why])
    store.insert("events", settled_columns([row], 1))
    for options in (
        ("--refused",),
        ("--meter", "tokens", "--refused"),
        ("--refused", "--reason", "value-not-a-number"),
    ):
        result = tokens("events", *options, "--format", "jsonl")
        assert [json.loads(line)["event"]["id"] for line in result.stdout.splitlines()] == ["bad"], (
            result.output
        )
    assert "value cannot be parsed as a number: 1,200" in tokens("events", "--refused").stdout
    counted = tokens("events", "--meter", "tokens", "--format", "jsonl").stdout.splitlines()
    assert "bad" not in [json.loads(line)["event"]["id"] for line in counted]
    assert tokens("events", "--refused", "--reason", "value-null", "--format", "jsonl").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("events --meter none", "There is no meter with the slug none."),
        ("events --reason value-null", "--reason requires --refused."),
        ("events --refused --reason because", "refused: a reason must be one of no-data"),
        ("usage tokens --csv-safe", "--csv-safe requires --format csv."),
    ],
)
def test_options_that_do_not_fit(tokens: Run, arguments: str, sentence: str) -> None:
    result = tokens(*arguments.split())
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {sentence}")


def test_csv_is_safe_only_where_that_is_asked_for(tokens: Run, store: ClickHouse) -> None:
    write(store, [("+491511", -525_600, "small")])
    asked = ("usage", "tokens", "--to", "2025-06-01", "--group-by", "subject", "--format", "csv")
    assert tokens(*asked).stdout.splitlines()[1].split(",")[2] == "+491511"
    assert tokens(*asked, "--csv-safe").stdout.splitlines()[1].split(",")[2] == "'+491511"


def test_what_meters_counted_and_refused_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    meters = [{"meter": "bill", "meter_id": 7, "counted": 1200, "refused": {"value-null": 2, "no-data": 1}}]
    namespace = {
        "namespace": "default", "read": 1203, "fates": dict.fromkeys(output.FATES, 0), "pending": 0,
        "differences": [], "reasons": {}, "meters": meters,
    }  # fmt: skip
    output.print_reconcile({"namespaces": [namespace], "differences": [], "settled": True, "ok": True})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["namespace", "meter", "id", "counted", "refused", "reasons"] in lines
    assert ["default", "bill", "7", "1,200", "3", "2", "value-null,", "1", "no-data"] in lines
    refused = {
        "namespace": "default",
        "meter": "bill",
        "meterId": 7,
        "counted": 1200,
        "refused": {"no-data": 1},
    }
    shown = {
        "since": "2026-01-01", "namespace": "default", "customerId": "c", "number": "DRAFT-A-1", "status": "draft",
        "severity": "critical", "code": "refused", "message": "It was refused.",
    }  # fmt: skip
    answer = {"stages": [], "neighbours": {}, "refused": [refused], "apps": []}
    output.print_status({**answer, "bills": {"totalCount": 3, "items": [shown]}})
    lines = capsys.readouterr().out.splitlines()
    assert (
        "meter bill (default) refused 1 events: 1 no-data. See: tallymark events --meter bill --refused"
        in lines
    )
    assert (
        "draft invoice DRAFT-A-1 (default, customer c) has the critical issue refused since 2026-01-01: It was refused."
        in lines
    )
    assert "2 more issues of invoices are not shown." in lines
    output.print_status({**answer, "bills": None})
    assert "The issues of invoices are not known" in capsys.readouterr().out


def test_reconcile_that_does_not_add_up(tokens: Run, tmp_path: Path) -> None:
    result = tokens("reconcile", "--wait", "0.2", "--format", "json")  # stored rows that no stage has read
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    metrics = tmp_path / "reconcile.prom"
    text = tokens("reconcile", "--wait", "0.2", "--metrics", str(metrics))
    assert text.exit_code == 1
    shown = len(report["differences"])
    assert f'tallymark_reconcile_differences{{of="events"}} {shown}.0' in metrics.read_text()
    partly = tokens("reconcile", "--metrics", str(metrics), "--customer", "acme")
    assert partly.exit_code == 2 and "give nothing else" in partly.stderr
    assert re.search(
        r"default: 0 events are counted by aggregate and backfill, but [1-9] are stored\.", text.stdout
    )
    assert re.search(r"default: ingest read 0 events from events/0, but [1-9] are stored\.", text.stdout)
    assert "tallymark rebuild clickhouse" in text.stdout


def test_status_without_workers(tokens: Run) -> None:
    result = tokens("status")
    assert result.exit_code == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:6]] == [
        [stage, "no"] for stage in ("ingest", "dedupe", "aggregate", "sink", "control")
    ]
    assert json.loads(tokens("status", "--format", "json").stdout)["ok"] is False


LINES = [
    b'{"specversion":"1.0","subject":"caf\xc3\xa9","id":"1"}',
    b'{ "subject" : 7 }',
    b"{broken",
    b"\xff\xfe",
    b'  {"subject":"spaces kept"}  ',
    b"[" * 100_000,
    *(b'{"subject":"acme","data":' + value + b"}" for value in VALUES.values()),
    *(text for text in TEXTS.values() if text.strip() and b"\n" not in text),
]


def test_send_keeps_every_byte(run: Run, served: Settings) -> None:
    result = run("send", "-", stdin=b"\n".join(LINES) + b"\r\n\n  \n")
    sentence = f"{len(LINES)} events sent, {len(LINES)} acknowledged by the broker.\n"
    assert (result.exit_code, result.stdout) == (0, sentence), result.output
    consumer = Consumer(kafka.client_config(served) | {"group.id": "t", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition("events", partition, 0) for partition in range(served.partitions)])
    records = consumer.consume(len(LINES), 30)
    consumer.close()
    assert Counter((r.value(), r.key()) for r in records) == Counter((line, key_of(line)) for line in LINES)
    assert {tuple(r.headers() or []) for r in records} == {(("content-type", CONTENT_TYPE.encode()),)}


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"subject":"acme"}', b"acme"),
        (b'{"subject":"caf\\u00e9"}', "café".encode()),
        (b'{"subject":""}', None),
        (b'{"subject":null}', None),
        (b'{"subject":1}', None),
        (b'{"subject":"\\ud800"}', None),
        (b'["subject"]', None),
        (b"{}", None),
        (b"\xff", None),
        (b'{"subject":"a"', None),
        (b'{"subject":"a","data":' + b"[" * 100_000, None),
        (b"[" * 100_000, None),
    ],
)
def test_the_key_is_the_subject(line: bytes, key: bytes | None) -> None:
    assert key_of(line) == key


def test_send_to_a_topic_that_is_not_there(run: Run) -> None:
    result = run("send", "-", "--topic", "nowhere", stdin=b"{}\n")
    assert result.exit_code == 2 and "no topic nowhere" in result.stderr


def test_send_without_a_broker(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYMARK_KAFKA", f"127.0.0.1:{process.free_port()}")
    result = run("send", "-", stdin=b"{}\n")
    assert result.exit_code == 3 and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", ["usage x", "events", "reconcile", "status", "meters list", "meters delete x"]
)
def test_without_an_api_every_command_says_so(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYMARK_API_URL", away := f"http://127.0.0.1:{process.free_port()}")
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 3
    assert (
        result.stderr.startswith(f"error: The API at {away} does not answer")
        and result.stderr.count("\n") == 1
    )


@pytest.mark.parametrize(
    "text",
    [
        b'[{"slug": "a"}]',
        b'{"meters": [{"slug": "a"}]}',
        b'[[meters]]\nslug = "a"\n',
        b'meters = [{slug = "a"}]',
    ],
)
def test_meters_as_json_and_toml(text: bytes) -> None:
    assert parse_meters(text, "-") == [{"slug": "a"}]


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'"a"', b"\xff", b"{broken", b'{"meters": {}}'])
def test_what_is_no_list_of_meters(text: bytes) -> None:
    for name in ("-", "meters.json", "meters.toml"):
        with pytest.raises(Rejected, match=name):
            parse_meters(text, name)


def commands(group: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{path} {name}".strip())


@pytest.mark.parametrize("command", [command for top in metering.COMMANDS for _, command in commands(top)])
def test_every_help_has_an_example(command: click.Command) -> None:
    assert "Example:" in (command.help or "") and "tallymark " in (command.help or "")
