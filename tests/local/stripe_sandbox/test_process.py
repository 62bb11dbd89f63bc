"""The sandbox as a process: it takes its own key alone, and holds its objects over kill -9."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import stripe

from pipeline.cli import stripe_sandbox
from pipeline.errors import Rejected
from pipeline.local import process
from pipeline.local.stripe_sandbox.process import KEY_FILE, SandboxProcess, key_of
from pipeline.settings import Settings
from tests.fixtures.patience import PATIENCE_S


def started(sandbox: SandboxProcess) -> process.Process:
    child = sandbox.spawn()
    deadline = time.monotonic() + PATIENCE_S
    while not sandbox.is_up():
        assert time.monotonic() < deadline and child.poll() is None, process.last_lines(sandbox.log)
        time.sleep(0.02)
    return child


def test_it_holds_what_the_commands_made(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    sandbox = SandboxProcess(tmp_path, process.free_port())
    settings = Settings.model_construct(stripe_address=sandbox.url, api_key_file=str(tmp_path / "admin.key"))
    child = started(sandbox)
    try:
        assert key_of(tmp_path).startswith("sk_test_") and (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
        customer = stripe_sandbox.create_customer(settings, "ACME")
        meter = stripe_sandbox.create_meter(settings, "ai_tokens")
        with pytest.raises(Rejected, match="already exists for event name ai_tokens"):
            stripe_sandbox.create_meter(settings, "ai_tokens")
        process.kill(child)
        child = started(sandbox)
        client = stripe_sandbox.client(settings)
        assert client.v1.customers.retrieve(customer).name == "ACME"
        assert [one.id for one in client.v1.billing.meters.list().data] == [meter]
        (tmp_path / KEY_FILE).write_text("sk_test_another")
        with pytest.raises(stripe.AuthenticationError):
            stripe_sandbox.client(settings).v1.customers.retrieve(customer)
    finally:
        process.kill(child)


def test_without_a_sandbox_nothing_is_asked(tmp_path: Path) -> None:
    none = Settings.model_construct(api_key_file=str(tmp_path / "admin.key"))
    with pytest.raises(Rejected, match="--stripe-sandbox"):
        stripe_sandbox.create_customer(none, "ACME")
    with pytest.raises(Rejected, match="holds no key of a sandbox"):
        stripe_sandbox.key_in(none)
