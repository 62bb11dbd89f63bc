"""Runs OpenMeter's clients against a fresh stack and writes what works: `python -m tests.foreign`.

Writes tests/foreign/README.md. Needs node, npm, and both registries.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.flow.stack_process import StackProcess
from tests.foreign.rig import Call, install_js, install_python, run_js, run_python, stripe_sandbox

README = Path(__file__).parent / "README.md"
HEAD = """\
# OpenMeter's own clients, unchanged

Made by `python -m tests.foreign`, which runs every call against a fresh local stack; `test_clients.py` fails when one
of them no longer does what it does here. The clients are `@openmeter/sdk@1.0.0-beta.231` (npm, node 20) and
`openmeter==1.0.0b236` (PyPI).

works: the call was made and its answer checked. differs: the note says how. answers: a route is there, but this
program does not know how to ask it well (the note is the status). not covered: no such route yet.

What a user of these clients meets that is otherwise than with OpenMeter:

* A `value` in a usage row has all its digits. A double of JavaScript or Python rounds it, a reader of decimals does
  not.
* `from` and `to` are exact to the nanosecond and [from, to) everywhere, also in `events.list`.
* An unknown query parameter is refused (400), as is a filter of a dimension that the meter does not have.
* An event is listed with `fate`, `reason`, `detail`, `meters` and `position` too, and its data has the digits sent.
* Duplicates are listed, as events with the fate `duplicate` or `conflict`; they are not counted.
* `listV2` takes `filter` as JSON text: the JavaScript client writes an object of objects into no URL at all.
* `keyVersion` of `plans.list` takes one number for a key: the JavaScript client writes a list of them into no URL.
* Waiting lines that are due are invoiced by the clock of the billing stage, so `billing.invoices.invoicePendingLines`
  may find none left. With a collection alignment `anchored` they wait for its next tick, or for that call.
* Usage of an entitlement is reset once a minute at most.
* There is no OAuth: `apps.marketplace.getOauth2InstallUrl` and `authorizeOauth2` answer 501, which is what is checked.
"""


def table(calls: list[Call]) -> str:
    """One row a call; of calls made twice the worse outcome."""
    order = ("fails", "absent", "answers", "differs", "works")
    worst: dict[str, Call] = {}
    for one in calls:
        known = worst.get(one.call)
        if known is None or order.index(one.outcome) < order.index(known.outcome):
            worst[one.call] = one
    rows = ["| call | outcome | note |", "|---|---|---|"]
    for one in worst.values():
        outcome = "not covered" if one.outcome == "absent" else one.outcome
        rows.append(f"| `{one.call}` | {outcome} | {one.note} |")
    return "\n".join(rows)


def count(calls: list[Call], outcome: str, group: str = "") -> int:
    """How many of the client's calls, all or those of a group, had this outcome."""
    return len({one.call for one in calls if one.outcome == outcome and _is_of(one, group)})


def groups(calls: list[Call]) -> str:
    """One row a group of the client's calls: how many there are, and how many work."""
    names = sorted({one.call.partition(".")[0] for one in calls if one.listed})
    rows = ["| group | calls | work |", "|---|---|---|"]
    for name in names:
        asked = len({one.call for one in calls if _is_of(one, name)})
        rows.append(f"| {name} | {asked} | {count(calls, 'works', name)} |")
    return "\n".join(rows)


def _is_of(one: Call, group: str) -> bool:
    return one.listed and (not group or one.call.startswith(f"{group}."))


def page(js: list[Call], python: list[Call]) -> str:
    """The text of README.md."""
    listed = len({one.call for one in js if one.listed})
    summary = (
        f"The client has {listed} calls: {count(js, 'works')} work, {count(js, 'answers')} answer, "
        f"{count(js, 'absent')} are not covered. Its portal client and React provider work as the table says."
    )
    parts = [
        HEAD,
        "## @openmeter/sdk",
        summary,
        groups(js),
        table(js),
        "## openmeter (Python)",
        table(python),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    """Writes README.md."""
    with tempfile.TemporaryDirectory(prefix="tallymark-foreign-") as name:
        folder = Path(name)
        js, python = install_js(folder / "js"), install_python(folder / "py")
        with stripe_sandbox() as address:
            os.environ["TALLYMARK_STRIPE_ADDRESS"] = address
            with StackProcess(folder / "stack") as running:
                key = (running.folder / "admin.key").read_text().strip()
                url = running.settings.api_url
                made = run_js(js, url, key), run_python(python, url, key)
    README.write_text(page(*made))
    print(README.read_text())


if __name__ == "__main__":
    main()
