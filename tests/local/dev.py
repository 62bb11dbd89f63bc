"""`tallymark dev` with dummies for the stages: what test_stack runs as a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.errors import Rejected
from pipeline.local.process import free_port
from pipeline.local.stack import DEFAULT_PORTS, Stack, run

DUMMY = str(Path(__file__).with_name("dummy.py"))


def command(name: str) -> list[str]:
    return [sys.executable, DUMMY, name, "deaf" if name == "sink" else "polite"]


if __name__ == "__main__":
    ports = {name: free_port() for name in DEFAULT_PORTS}
    try:
        run(Stack(Path(sys.argv[1]), command=command, wanted_ports=ports))
    except Rejected as error:
        print(error, file=sys.stderr)
        sys.exit(2)
