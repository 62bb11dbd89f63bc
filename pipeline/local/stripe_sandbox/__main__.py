"""The sandbox as a process: `python -m pipeline.local.stripe_sandbox --data DIR --port PORT`.

Owns: its command line. It listens on this machine only, and takes no key but its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aiohttp import web

from pipeline.local import private, process
from pipeline.local.stripe_sandbox.account import SandboxAccount
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.journal import SandboxJournal
from pipeline.local.stripe_sandbox.process import key_of
from pipeline.local.stripe_sandbox.server import SandboxServer

JOURNAL = "stripe/journal.jsonl"
ACCOUNT = "acct_sandbox"


def main() -> None:
    """The command line of the process."""
    parser = argparse.ArgumentParser(description="A small Stripe on the loopback address.")
    parser.add_argument("--data", type=Path, required=True, help="folder of its key and its journal")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    arguments = parser.parse_args()
    journal = arguments.data / JOURNAL
    private.folder(journal.parent)
    account = SandboxAccount(ACCOUNT, {key_of(arguments.data): frozenset({"*"})})
    sandbox = StripeSandbox(account, SandboxClock(), journal=SandboxJournal(journal))
    web.run_app(
        SandboxServer(sandbox).app(), host=process.HOST, port=arguments.port, print=None, access_log=None
    )


if __name__ == "__main__":
    main()
