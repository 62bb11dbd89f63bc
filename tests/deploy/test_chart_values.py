"""The values of the Helm chart: their table, how they reach a process, and which are refused."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.worker import wiring
from tests.deploy import chart_table
from tests.deploy.chart_renders import CHART, EXAMPLES, RELEASE, of_kind, pods, rendered, schema, variables

helm_python = pytest.importorskip("helm_python", reason="it has a wheel for Linux on x86_64 only")

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SASL = {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_username": "x"}
OWN = {"state_dir", "metrics_host", "metrics_port", "api_host", "api_port"}  # the chart sets them itself
# Maps whose keys Kubernetes knows, and not the chart; every other map refuses a key that it does not know.
OPEN = ("requests", "limits")


def test_the_readme_has_the_table_of_these_values() -> None:
    readme = chart_table.README.read_text()
    assert chart_table.with_table(readme) == readme, "python -m tests.deploy.chart_table"
    assert {row.path.partition(".")[0] for row in chart_table.rows()} == DEFAULTS.keys()


def test_the_readme_names_the_examples() -> None:
    assert (
        set(re.findall(r"`([\w-]+)\.yaml`", chart_table.README.read_text())) - {"my-values"}
        == EXAMPLES.keys()
    )


def test_the_values_of_the_readme_are_accepted() -> None:
    _, _, text = chart_table.README.read_text().partition("for example:\n\n")
    values = yaml.safe_load(text.partition("\n\n")[0])
    assert values["secrets"] and variables(pods(rendered(values))[f"{RELEASE}-sink"])["TALLYMARK_CLICKHOUSE"]


def test_settings_secrets_and_files_are_all_that_there_are() -> None:
    named = {*schema()["settings"]["propertyNames"]["enum"], *schema()["secrets"]["propertyNames"]["enum"]}
    assert set(Settings.model_fields) - named == OWN


def test_every_setting_that_is_the_path_of_a_file_can_be_mounted() -> None:
    paths = {
        name
        for name, one in Settings.model_fields.items()
        if name.endswith("_file") or "(PEM file)" in str(one.description)
    }
    document = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert set(document["definitions"]["files"]["propertyNames"]["enum"]) == paths


def maps(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in values.items():
        if isinstance(inner, dict):
            yield from maps(inner, (*path, name))


@pytest.mark.parametrize(
    "path", [one for one in maps(DEFAULTS) if one[-1:] not in {(name,) for name in OPEN}], ids=".".join
)
def test_a_key_that_does_not_exist_is_refused(path: tuple[str, ...]) -> None:
    wrong: dict[str, Any] = {"misspelt": 1}
    for name in reversed(path):
        wrong = {name: wrong}
    with pytest.raises(helm_python.HelmError, match="misspelt"):
        rendered(wrong)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"settings": {"horizon": 1}}, "horizon"),
        ({"settings": {"clickhouse_password": "x"}}, "clickhouse_password"),
        ({"settings": {"state_dir": "/tmp"}}, "state_dir"),
        ({"settings": {"redis": "redis://:secret@redis:6379"}}, "redis"),
        ({"settings": {"kafka": "kafka"}}, "kafka"),
        ({"settings": {"partitions": "12"}}, "partitions"),
        ({"stages": {"sink": {"settings": {"horizon": 1}}}}, "horizon"),
        ({"api": {"settings": {"clickhouse": "https://a:b@c:8443/d"}}}, "clickhouse"),
        ({"secrets": {"clickhouse_password": {"name": "x"}}}, "key"),
        ({"secrets": {"clickhouse_password": "secret"}}, "clickhouse_password"),
        ({"files": {"kafka_ca": {"configMap": "x", "secret": "y", "key": "z"}}}, "kafka_ca"),
        ({"files": {"kafka_ca": {"key": "z"}}}, "kafka_ca"),
        ({"stages": {"dedup": {"replicas": 1}}}, "dedup"),
        ({"stages": {"dedupe": {"replicas": -1}}}, "replicas"),
        ({"stages": {"dedupe": {"storage": "20"}}}, "storage"),
        ({"stages": {"webhook": None}}, "webhook"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"resources": {"limits": {"memory": None}}}, "memory"),
        ({"autoscaling": {"by": "lag"}}, "autoscaling"),
        ({"replicas": 3}, "replicas"),
        ({"networkPolicy": {"extraEgress": {"webhooks": [{}]}}}, "webhooks"),
        ({"networkPolicy": {"kafka": {"ports": [0]}}}, "ports"),
        ({"stages": {"numbering": {"replicas": 2}}}, "stages.numbering has one worker"),
        (
            {"stages": {"dedupe": {"maxReplicas": 13}}},
            "stages.dedupe has more workers than settings.partitions, so that some would be idle.",
        ),
        ({"settings": {"redis": ""}}, "settings.redis is empty: set stages.live.replicas to 0."),
        ({"stages": {"dedupe": {"replicas": 9}}}, "stages.dedupe has more replicas than maxReplicas."),
        (
            {"settings": {"kafka_security_protocol": "SASL_PLAINTEXT"}},
            "settings.kafka_security_protocol SASL_PLAINTEXT encrypts nothing: set it to SASL_SSL or SSL",
        ),
        (
            {"settings": SASL, "autoscaling": {"by": "keda"}},
            "autoscaling.by keda needs autoscaling.authenticationRef",
        ),
        (
            {"settings": {"kafka_ca": "/x"}, "files": {"kafka_ca": {"secret": "x", "key": "y"}}},
            "kafka_ca is in settings and in files: only one may have it.",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_values_are_refused_with_their_name(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(reason)):
        rendered(values)


def referred(template: dict[str, Any]) -> set[str]:
    """The names of the settings that a pod gets from a Secret or a file."""
    env = template["spec"]["containers"][0]["env"]
    return {
        one["name"].removeprefix("TALLYMARK_").lower()
        for one in env
        if "valueFrom" in one or one["value"].startswith("/etc/tallymark/")
    }


def test_a_process_gets_the_secrets_that_it_uses() -> None:
    secrets = schema()["secrets"]["propertyNames"]["enum"]
    found = pods(rendered({"secrets": {name: {"name": "s", "key": name} for name in secrets}}))
    for stage in STAGES:
        texts = [inspect.getsource(wiring._STAGES[stage])]
        texts += [path.read_text() for path in (CHART.parents[2] / "pipeline/agents").glob(f"{stage}*.py")]
        used = {name for name in secrets if any(f"settings.{name}" in text for text in texts)}
        if "_clickhouse(settings)" in texts[0]:
            used.add("clickhouse_password")
        assert referred(found[f"{RELEASE}-{stage}"]) == used | {"kafka_password"}, stage
    assert referred(found[f"{RELEASE}-api"]) == set(secrets)
    assert referred(found[f"{RELEASE}-topics"]) == {"kafka_password"}


def test_files_are_mounted_where_the_settings_look() -> None:
    found = pods(rendered(EXAMPLES["mtls"]))
    expected = {
        "dedupe": {"kafka_ca", "kafka_cert", "kafka_cert_key"},
        "webhook": {"kafka_ca", "kafka_cert", "kafka_cert_key", "webhook_ca", "secrets_key"},
        "live": {"kafka_ca", "kafka_cert", "kafka_cert_key", "redis_password_file", "ssl_cert_file"},
        "topics": {"kafka_ca", "kafka_cert", "kafka_cert_key"},
    }
    for component, names in expected.items():
        template = found[f"{RELEASE}-{component}"]
        assert referred(template) == names
        (volume,) = (one for one in template["spec"]["volumes"] if one["name"] == "files")
        sources = [source for one in volume["projected"]["sources"] for source in one.values()]
        held = {f"/etc/tallymark/{one['items'][0]['path']}" for one in sources}
        assert held == {
            value for value in variables(template).values() if value.startswith("/etc/tallymark/")
        }
        names_of = {source["name"] for source in sources}
        assert ("tallymark-admin-kafka" in names_of) == (component == "topics"), (
            "the job has its own certificate"
        )


@pytest.mark.parametrize("values", [{}, *EXAMPLES.values()], ids=["default", *EXAMPLES])
def test_each_process_accepts_its_variables(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a" * 43 + "=")  # base64 of 32 bytes, as each secret here

    def given(one: dict[str, Any]) -> str:
        value = str(one.get("value", "a" * 43 + "="))
        return str(tmp_path / "file") if value.startswith("/etc/tallymark/") else value

    for template in pods(rendered(values)).values():
        env = template["spec"]["containers"][0]["env"]
        Settings(**{
            one["name"].removeprefix("TALLYMARK_").lower(): given(one) for one in env if one["name"] != "SSL_CERT_FILE"
        })  # fmt: skip


def test_a_stage_can_have_a_user_of_its_own() -> None:
    found = pods(rendered(EXAMPLES["production-keda"]))
    users = {
        name.removeprefix(f"{RELEASE}-"): variables(template)["TALLYMARK_KAFKA_USERNAME"]
        for name, template in found.items()
    }
    others = dict.fromkeys([*STAGES, "api", "topics"], "tallymark")
    assert users == others | {"sink": "tallymark-sink", "topics": "tallymark-admin"}


def test_the_pods_change_that_have_a_changed_setting() -> None:
    def sums(values: dict[str, Any]) -> dict[str, str]:
        return {
            name: one["metadata"]["annotations"]["checksum/config"]
            for name, one in pods(rendered(values)).items()
        }

    before = sums({})
    everywhere, one_stage = (
        sums({"settings": {"horizon_s": 9}}),
        sums({"stages": {"sink": {"settings": {"horizon_s": 9}}}}),
    )
    assert all(everywhere[name] != before[name] for name in before)
    assert {name for name in before if one_stage[name] != before[name]} == {f"{RELEASE}-sink"}
    secret = sums({"secrets": {"redis_password": {"name": "a", "key": "b"}}})
    assert {name for name in before if secret[name] != before[name]} == {f"{RELEASE}-live", f"{RELEASE}-api"}


def test_an_image_is_named_by_its_digest() -> None:
    digest = f"sha256:{'0' * 64}"
    found = of_kind(rendered({"image": {"repository": "r.example.com/t", "digest": digest}}), "Deployment")
    container = found[f"{RELEASE}-api"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"r.example.com/t@{digest}"
