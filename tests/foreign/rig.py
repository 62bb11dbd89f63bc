"""Installs OpenMeter's clients beside the project and runs their calls against a stack.

Owns: where they are installed, how they are started, what they print. Does not own: the calls (js/*.mjs,
py/calls.py), the stack (tests.flow.stack_process).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from tests.fixtures.patience import PATIENCE_S
from tests.local.stripe_sandbox.sandbox_server import KEY, ServedSandbox, account

HERE = Path(__file__).parent
PYTHON_CLIENT = "openmeter==1.0.0b236"
STRIPE_CUSTOMER = "cus_sandbox00000001"


class Call(NamedTuple):
    """One call of a client. outcome: works, fails, absent, answers; listed: the client has a method of this name."""

    call: str
    outcome: str
    note: str = ""
    listed: bool = False


class Absent(Exception):
    """A client cannot be installed here."""


def install_js(folder: Path) -> Path:
    """The folder from which calls.mjs can be run. Raises Absent without node or the npm registry."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Absent("node and npm are not installed")
    shutil.copytree(HERE / "js", folder, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    _install([npm, "install", "--no-audit", "--no-fund", "--loglevel=error"], folder)
    return folder


def install_python(folder: Path) -> Path:
    """The interpreter of an environment with the client. Raises Absent without PyPI."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _install([str(python), "-m", "pip", "install", "-q", PYTHON_CLIENT], HERE)
    return python


def run_js(folder: Path, url: str, key: str) -> list[Call]:
    """Every call of @openmeter/sdk, by all programs, against a whole stack."""
    programs = (run_js_billing, run_js_stripe, run_js_invoices, run_js_subscriptions, run_js_quotas)
    own = [one for run in (*programs, run_js_notifications) for one in run(folder, url, key)]
    asked = {one.call for one in own}
    return [one for one in _run(["node", "calls.mjs"], folder, url, key) if one.call not in asked] + own


def run_js_billing(folder: Path, url: str, key: str) -> list[Call]:
    """The calls of @openmeter/sdk about billing profiles and overrides."""
    return _run(["node", "billing.mjs"], folder, url, key)


def run_js_stripe(folder: Path, url: str, key: str) -> list[Call]:
    """The calls of @openmeter/sdk about Stripe apps, against a sandbox (see `stripe_sandbox`)."""
    return _run(["node", "stripe.mjs"], folder, url, key)


def run_js_invoices(folder: Path, url: str, key: str) -> list[Call]:
    """The calls of @openmeter/sdk about invoices and custom invoicing."""
    return _run(["node", "invoices.mjs"], folder, url, key)


def run_js_subscriptions(folder: Path, url: str, key: str) -> list[Call]:
    """The calls of @openmeter/sdk about subscriptions and their add-ons."""
    return _run(["node", "subscriptions.mjs"], folder, url, key)


def run_js_quotas(folder: Path, url: str, key: str) -> list[Call]:
    """The calls of @openmeter/sdk about entitlements and grants, against a whole stack."""
    return _run(["node", "quotas.mjs"], folder, url, key)


def run_js_notifications(folder: Path, url: str, key: str) -> list[Call]:
    """The calls of @openmeter/sdk about channels, rules and their events."""
    return _run(["node", "notifications.mjs"], folder, url, key)


@contextmanager
def stripe_sandbox() -> Iterator[str]:
    """The URL of a Stripe with the customer STRIPE_CUSTOMER, for the setting `stripe_address`."""
    sandbox = StripeSandbox(account(), SandboxClock())
    sandbox.account.create_customer({"name": "ACME"}, 0)
    with ServedSandbox(sandbox) as served:
        yield served.url


def run_python(python: Path, url: str, key: str) -> list[Call]:
    """The calls of `openmeter` that its users make of us."""
    return _run([str(python), str(HERE / "py" / "calls.py")], HERE, url, key)


def _install(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if done.returncode:
        raise Absent(f"{' '.join(command[:4])}: {done.stderr[-500:]}")


def _run(command: list[str], folder: Path, url: str, key: str) -> list[Call]:
    stripe = {"STRIPE_KEY": KEY, "STRIPE_CUSTOMER": STRIPE_CUSTOMER}
    environment = os.environ | {"TALLYMARK_URL": url, "TALLYMARK_KEY": key} | stripe
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    return [Call(**json.loads(line)) for line in done.stdout.splitlines()]
