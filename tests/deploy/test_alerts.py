"""The alert rules: they fire and are quiet as their cases say, ask for metrics that exist, and lead to the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import metric_names, runbook_text
from tests.deploy.alertmanager_start import configured
from tests.deploy.runbook_text import DEPLOY, RUNBOOK
from tests.fixtures.absent import absent

pytestmark = pytest.mark.services  # it takes seconds

HERE = Path(__file__).parent
CASES = [HERE / "alerts_test.yml", HERE / "alerts_days_test.yml"]
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
SECTIONS = runbook_text.sections(RUNBOOK.read_text())
every_alert = pytest.mark.parametrize("name", RULES)


def run(program: str, *words: object, folder: Path = DEPLOY) -> None:
    """Runs a tool of Prometheus to its end, which has to be a good one."""
    if shutil.which(program) is None:
        absent(f"{program} is missing: apt-get install prometheus prometheus-alertmanager")
    done = subprocess.run(
        [program, *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_each_alert_fires_and_is_quiet_as_described(cases: Path) -> None:
    run("promtool", "test", "rules", cases)


def test_each_alert_has_a_case_of_each_kind() -> None:
    cases: Counter[tuple[str, bool]] = Counter()
    for path in CASES:
        for group in yaml.safe_load(path.read_text())["tests"]:
            cases.update((one["alertname"], bool(one["exp_alerts"])) for one in group["alert_rule_test"])
    assert cases == Counter({(name, fires): 1 for name in RULES for fires in (True, False)})


def test_the_configurations_are_valid() -> None:
    run("promtool", "check", "config", "prometheus.yml")
    run("amtool", "check-config", "alertmanager.yml")


@pytest.mark.parametrize("url", ["", "https://example.com/a?b='c'&d=%20#e"])
def test_the_receiver_is_what_is_set(url: str, tmp_path: Path) -> None:
    path, words = configured(tmp_path, url)
    receivers = yaml.safe_load(path.read_text())["receivers"]
    webhooks = [{"url": url, "send_resolved": True}]
    assert receivers == [{"name": "operator", "webhook_configs": webhooks} if url else {"name": "operator"}]
    assert f"--config.file={path}" in words
    run("amtool", "check-config", path)


@every_alert
def test_an_alert_asks_for_metrics_that_there_are(name: str) -> None:
    asked = metric_names.asked(RULES[name]["expr"])
    assert asked and asked <= metric_names.known()
    assert metric_names.wrong_labels(RULES[name]["expr"]) == set()


@every_alert
def test_an_alert_has_a_severity_and_one_plain_sentence(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "runbook_url"}
    summary = rule["annotations"]["summary"]
    assert summary.endswith(".") and summary[0] in "{`ABCDEFGHIJKLMNOPQRSTUVWXYZ" and len(summary) < 160
    for label in re.findall(r"\$labels\.(\w+)", summary):
        assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"]), f"the result has no label {label}"


@every_alert
def test_an_alert_leads_to_its_section_of_the_runbook(name: str) -> None:
    path, _, anchor = RULES[name]["annotations"]["runbook_url"].partition("#")
    assert (path, anchor) == ("deploy/runbook.md", name.lower())
    first = re.search(r"^First: `(tallymark [^`]+)`", SECTIONS[anchor], re.MULTILINE)
    assert first, "a section has to begin with what to do first"


def test_the_runbook_has_no_section_without_an_alert() -> None:
    assert list(SECTIONS)[1:] == [name.lower() for name in RULES]


@pytest.mark.parametrize("line", sorted(set(runbook_text.commands(RUNBOOK.read_text()))))
def test_the_runbook_names_commands_that_there_are(line: str) -> None:
    assert runbook_text.fault_of(line) == ""


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("tallymark stauts", "there is no command stauts in main"),
        ("tallymark stripe", "stripe is a group"),
        ("tallymark status --formt json", "No such option: --formt"),
        ("tallymark stripe retry", "Missing option '--customer'."),
        (
            "tallymark events --limit many",
            "Invalid value for '--limit': 'many' is not a valid integer range.",
        ),
    ],
)
def test_a_wrong_command_is_found(line: str, fault: str) -> None:
    assert runbook_text.fault_of(line).startswith(fault)


def test_every_link_of_the_runbook_leads_somewhere() -> None:
    text = RUNBOOK.read_text()
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        target = DEPLOY / path if path else RUNBOOK
        assert target.exists(), path
        if anchor:
            assert anchor in runbook_text.sections(target.read_text()), (path, anchor)


def test_names_of_metrics_are_found_in_an_expression() -> None:
    found = metric_names.asked('sum by (up) (rate(tallymark_a_total{x="tallymark_b"}[5m])) / up > process_c')
    assert found == {"tallymark_a_total", "up", "process_c"}


def test_a_label_that_no_metric_has_is_found() -> None:
    assert metric_names.wrong_labels("sum by (topic, fate) (tallymark_fates_total)") == {"topic"}
    assert metric_names.wrong_labels('tallymark_outcomes_total{stage="x",fates=~"y"}') == {"fates"}
