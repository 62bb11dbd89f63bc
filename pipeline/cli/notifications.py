"""The commands for webhooks: rules, endpoints, deliveries. They call the API.

Owns: their arguments and tables. Does not own: responses (api), receiving webhooks (cli's listen), show, update, enable
and disable (objects).
"""

from __future__ import annotations

from typing import IO

import click

from pipeline.cli import objects
from pipeline.cli.api import ask, ask_json, given, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.output import OutputRow, format_option, listed, print_value, text
from pipeline.cli.paths import segment
from pipeline.errors import Rejected

RULES, CHANNELS, DELIVERIES = "/notification/rules", "/notification/channels", "/deliveries"
STATES = ("PENDING", "SENDING", "RESENDING", "SUCCESS", "FAILED")


@click.group()
def rules() -> None:
    """Define which alerts fire, and where they are sent.

    \b
    Example:
      tallymark rules list
    """


@rules.command("create")
@click.argument("file", type=click.File("rb"))
def rules_create(file: IO[bytes]) -> None:
    """Create a rule from FILE.

    FILE is a JSON object (- for standard input): type, name, channels (ids of endpoints), and the members that
    the type needs. Types: entitlements.balance.threshold, entitlements.reset, entitlements.grant.expiring,
    meter.volume.threshold, credit.low_balance, invoice.created, invoice.updated, invoice.overdue.

    \b
    Example:
      echo '{"type": "entitlements.balance.threshold", "name": "80 %", "channels": ["ID"],
             "thresholds": [{"type": "usage_percentage", "value": 80}]}' | tallymark rules create -
    """
    print_value(ask_json("POST", RULES, json=read_object(file)))


@rules.command("list")
@click.option("--feature", help="Only those for this feature: an id or key.")
@click.option("--endpoint", help="Only those that send to this endpoint.")
@format_option("table", "json")
def rules_list(feature: str | None, endpoint: str | None, form: str) -> None:
    """List rules, oldest first, including disabled ones.

    \b
    Example:
      tallymark rules list --feature tokens
    """
    rows = list(pages(RULES, given({"includeDisabled": "true", "feature": feature, "channel": endpoint})))
    cells = (
        (row["id"], row["name"], row["type"], _condition(row), " ".join(one["id"] for one in row["channels"]),
         "disabled" if row["disabled"] else "on")
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("id", "name", "type", "condition", "endpoints", "state"), cells)


@rules.command("delete")
@click.argument("id")
def rules_delete(id: str) -> None:
    """Delete the rule ID: it does not fire any more.

    \b
    Example:
      tallymark rules delete 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"{RULES}/{segment(id)}")
    click.echo(f"{id} is deleted.")


@rules.command("test")
@click.argument("id")
def rules_test(id: str) -> None:
    """Send a test to all endpoints of the rule ID.

    The alert is sent like any other; its data is invented.

    \b
    Example:
      tallymark rules test 01J8Z3V9T2M4K6P8R0S2V4X6Z8 && tallymark deliveries list
    """
    event = ask_json("POST", f"{RULES}/{segment(id)}/test")
    click.echo(f"{event['id']} is being delivered to {len(event['deliveryStatus'])} endpoint(s).")


@click.group()
def endpoints() -> None:
    """Define where webhooks are sent.

    \b
    Example:
      tallymark endpoints create billing https://example.com/webhooks
    """


@endpoints.command("create")
@click.argument("name")
@click.argument("url")
@click.option("--header", "headers", multiple=True, metavar="K=V", help="Additional header; may be repeated.")
@click.option("--secret", metavar="SECRET", help="Signing secret: whsec_...  [default: a new one]")
def endpoints_create(name: str, url: str, headers: tuple[str, ...], secret: str | None) -> None:
    """Create the endpoint NAME at URL. Its id and its secret are printed only once.

    \b
    Example:
      tallymark endpoints create billing https://example.com/webhooks --header x-team=billing
    """
    body: OutputRow = {"type": "WEBHOOK", "name": name, "url": url}
    if headers:
        body["customHeaders"] = dict(_header(one) for one in headers)
    if secret is not None:
        body["signingSecret"] = secret
    made = ask_json("POST", CHANNELS, json=body)
    click.echo(f"{made['id']}\n{made['signingSecret']}")


@endpoints.command("list")
@format_option("table", "json")
def endpoints_list(form: str) -> None:
    """List endpoints, oldest first, including disabled ones.

    \b
    Example:
      tallymark endpoints list
    """
    rows = list(pages(CHANNELS, [("includeDisabled", "true")]))
    cells = (
        (row["id"], row["name"], row["url"], row["createdAt"],
         f"disabled {row.get('disabledReason', '')}".strip() if row["disabled"] else "on")
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("id", "name", "url", "created", "state"), cells)


@endpoints.command("rotate")
@click.argument("id")
@click.option("--overlap", "overlap_s", type=click.IntRange(0, 2_592_000), default=86_400, show_default=True,
              metavar="SECONDS", help="How long the old secret signs too.")  # fmt: skip
def endpoints_rotate(id: str, overlap_s: int) -> None:
    """Replace the secret of the endpoint ID. The new one is printed only once.

    \b
    Example:
      tallymark endpoints rotate 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --overlap 3600
    """
    made = ask_json("POST", f"/endpoints/{segment(id)}/rotate", json={"overlapS": overlap_s})
    click.echo(made["signingSecret"])


@endpoints.command("delete")
@click.argument("id")
def endpoints_delete(id: str) -> None:
    """Delete the endpoint ID, unless a rule sends to it.

    \b
    Example:
      tallymark endpoints delete 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("DELETE", f"{CHANNELS}/{segment(id)}")
    click.echo(f"{id} is deleted.")


@click.group()
def deliveries() -> None:
    """List deliveries of webhooks, and send them again.

    \b
    Example:
      tallymark deliveries list --state FAILED
    """


@deliveries.command("list")
@click.option("--endpoint", help="Only those to this endpoint.")
@click.option("--event", help="Only those of this alert.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only those in this state.")
@click.option(
    "--from",
    "from_",
    metavar="TIME",
    help="Start of the alert's time, inclusive: RFC 3339, or a date in UTC.",
)
@click.option("--to", metavar="TIME", help="End of the alert's time, exclusive.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@format_option("table", "json")
def deliveries_list(form: str, limit: int, state: str | None, from_: str | None, **asked: str | None) -> None:
    """List deliveries, newest first.

    \b
    Example:
      tallymark deliveries list --state FAILED --from 2026-01-01
    """
    params = given({**asked, "from": from_, "state": state and state.upper()})
    rows = ask_json("GET", DELIVERIES, params=[*params, ("pageSize", limit)])["items"]
    cells = (
        (row["id"], row["createdAt"], row["event"]["type"], row["channel"]["id"], row["state"],
         str(row["tries"]), _last(row), row.get("nextAttempt", ""))
        for row in rows
    )  # fmt: skip
    columns = ("id", "alert at", "type", "endpoint", "state", "attempts", "last response", "next attempt")
    listed(rows, form, columns, cells, right=("attempts",))


@deliveries.command("resend")
@click.argument("id")
def deliveries_resend(id: str) -> None:
    """Send the delivery ID again, with the same webhook-id.

    \b
    Example:
      tallymark deliveries resend 01J8Z3V9T2M4K6P8R0S2V4X6Z8
    """
    ask("POST", f"{DELIVERIES}/{segment(id)}/resend")
    click.echo(f"{id} is sent again.")


@deliveries.command("replay")
@click.argument("endpoint")
@click.option(
    "--from", "from_", metavar="TIME", required=True, help="Start, inclusive: RFC 3339, or a date in UTC."
)
@click.option("--to", metavar="TIME", required=True, help="End, exclusive.")
@click.option("--state", "states", type=click.Choice(STATES, case_sensitive=False), multiple=True,
              help="Only those in this state; may be repeated.  [default: FAILED]")  # fmt: skip
def deliveries_replay(endpoint: str, from_: str, to: str, states: tuple[str, ...]) -> None:
    """Send the deliveries to ENDPOINT of a time range again.

    \b
    Example:
      tallymark deliveries replay 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --from 2026-01-01 --to 2026-01-02
    """
    body: OutputRow = {"from": from_, "to": to}
    if states:
        body["states"] = [state.upper() for state in states]
    replay = ask_json("POST", f"/endpoints/{segment(endpoint)}/replay", json=body)
    click.echo(f"Deliveries in the state {' or '.join(replay['states'])} are sent again.")


for _group, _path in ((rules, RULES), (endpoints, CHANNELS)):
    objects.add_show(_group, _path, objects.AN_ID)
    objects.add_update(_group, _path)
    objects.add_switch(_group, _path)

COMMANDS: list[click.Command] = [rules, endpoints, deliveries]


def _header(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise Rejected("bad-endpoint", f"--header {given} does not have the form k=v.")
    return name, value


def _condition(rule: OutputRow) -> str:
    """The condition of a rule, in a few words."""
    words = [f"{one['type']} {text(one['value'])}" for one in rule.get("thresholds", ())]
    if "limit" in rule:
        words.append(f"{rule['meterSlug']} reaches {text(rule['limit'])} a {rule['windowSize']}")
    words += [f"{rule['before']} before"] if "before" in rule else []
    words += [f"of {' '.join(one['key'] for one in rule['features'])}"] if "features" in rule else []
    return ", ".join(words)


def _last(delivery: OutputRow) -> str:
    if not delivery["attempts"]:
        return ""
    response = delivery["attempts"][0]["response"]
    return str(response.get("statusCode") or response["body"])
