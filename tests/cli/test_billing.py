"""`tallymark stripe` against a served API and the sandbox: output, exit codes, and where a key may come from."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.cli.main import main
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.fixtures.control_stage import ControlStage
from tests.local.stripe_sandbox.sandbox_server import KEY, ServedSandbox, account
from tests.local.stripe_sandbox.test_meter_events import METER

Run = Callable[..., Result]
TOKENS = json.dumps(
    [
        {
            "slug": "tokens",
            "eventType": "x",
            "aggregation": "SUM",
            "valueProperty": "$.n",
            "groupBy": {"model": "$.m"},
        }
    ]
)


@pytest.fixture(scope="module")
def url(served: Settings, decider: ControlStage) -> Iterator[str]:
    sandbox = StripeSandbox(account(), SandboxClock())
    sandbox.account.create_meter(METER, 0)
    sandbox.account.create_customer({"name": "ACME"}, 0)
    secrets_key = SecretStr(base64.b64encode(bytes(32)).decode())
    with ServedSandbox(sandbox) as stripe:
        settings = served.model_copy(update={"secrets_key": secrets_key, "stripe_address": stripe.url})
        with served_app(create_app(settings)) as address:
            yield address


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TALLYMARK_API_URL", url)

    def run(*arguments: str, stdin: str | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin)
        assert result.exit_code == code, result.output
        assert KEY not in result.output
        return result

    return run


def test_an_account_is_connected_mapped_and_disconnected(run: Run, tmp_path: Path) -> None:
    run("meters", "apply", "-", stdin=TOKENS)
    run("customers", "create", "-", stdin='{"key": "acme", "name": "ACME"}')
    output = run("stripe", "connect", stdin=KEY + "\n").output
    assert output.startswith("acct_sandbox is connected: Stripe (")
    (app,) = json.loads(run("stripe", "apps", "--format", "json").output)
    assert f"tallymark stripe connect --app {app['id']} --webhook-secret-file FILE" in output
    assert "v1.billing.meter.error_report_triggered" in output
    file = tmp_path / "secret"
    file.write_text("whsec_1\n")
    run("stripe", "connect", "--app", app["id"], "--webhook-secret-file", str(file))
    file.write_text(KEY + "\n")
    run("stripe", "connect", "--app", app["id"], "--key-file", str(file))
    table = run("stripe", "apps").output
    assert "acct_sandbox" in table and "sk_test_***box" in table and "ready" in table and "yes" in table
    data = json.loads(run("stripe", "customer", "acme", "cus_sandbox00000001").output)
    assert data["stripeCustomerId"] == "cus_sandbox00000001"
    made = json.loads(
        run("stripe", "map", "tokens", "tokens", "--multiplier", "0.001", "--dimension", "model=llm").output
    )
    assert (made["multiplier"], made["dimensions"]) == ("0.001", {"model": "llm"})
    row = run("stripe", "maps").output
    assert "model=llm" in row and made["id"] in row
    assert run("stripe", "unmap", made["id"]).output == f"The mapping {made['id']} has ended.\n"
    assert made["id"] in run("stripe", "maps", "--deleted").output
    run("stripe", "customer", "acme", "--delete")
    assert json.loads(run("stripe", "customer", "acme").output) == []
    run("stripe", "disconnect", app["id"])
    assert json.loads(run("stripe", "apps", "--format", "json").output) == []


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (("connect",), "sk_test_wrong", "Stripe refused to read the account: Invalid API Key provided"),
        (("connect",), "", "app apiKey must be a secret or restricted key of Stripe"),
        (("connect", "--key-file", "/nothing/here"), None, "/nothing/here cannot be read: No such file"),
        (("map", "tokens", "tokens", "--dimension", "model"), None, "--dimension model does not have the form KEY="),
        (("map", "tokens", "tokens"), None, "There is no Stripe app."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_exit_code_2(
    run: Run, arguments: tuple[str, ...], stdin: str | None, sentence: str
) -> None:
    assert sentence in run("stripe", *arguments, stdin=stdin, code=2).output


def test_a_key_is_no_argument(run: Run) -> None:
    assert "Got unexpected extra argument" in run("stripe", "connect", "sk_test_1", code=2).output


def test_objects_of_the_sandbox_are_made_with_nothing_but_what_the_stack_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the folder in which `tallymark dev --stripe-sandbox` was started, and in another one."""
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(main, ["stripe", "sandbox", "meter", "ai_tokens"])
    assert refused.exit_code == 2 and "tallymark dev --stripe-sandbox" in refused.output
    with ServedSandbox() as stripe:
        folder = tmp_path / ".tallymark"
        folder.mkdir()
        (folder / "stripe.key").write_text(KEY)
        (folder / "tallymark.toml").write_text(f'stripe_address = "{stripe.url}"')
        made = CliRunner().invoke(main, ["stripe", "sandbox", "meter", "ai_tokens"])
        customer = CliRunner().invoke(main, ["stripe", "sandbox", "customer", "ACME"])
        shown = CliRunner().invoke(main, ["stripe", "sandbox", "show"])
        assert [one.event_name for one in stripe.sandbox.account.meters.values()] == ["ai_tokens"]
    assert (made.output, customer.output) == ("mtr_sandbox00000001\n", "cus_sandbox00000001\n")
    assert "2 calls" in shown.output
