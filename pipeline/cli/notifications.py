"""The commands about webhooks: rules, endpoints, deliveries. They ask the API.

Owns: their arguments and tables. Does not own: answers (api), receiving webhooks (cli's listen).
"""

from __future__ import annotations

from typing import IO, Any

import click

from pipeline.cli.api import ask, ask_json, pages
from pipeline.cli.input_file import read_object
from pipeline.cli.output import OutputRow, format_option, listed, print_value, text
from pipeline.cli.paths import segment
from pipeline.errors import Rejected

RULES, CHANNELS, DELIVERIES = "/notification/rules", "/notification/channels", "/deliveries"
STATES = ("PENDING", "SENDING", "RESENDING", "SUCCESS", "FAILED")


@click.group()
def rules() -> None:
    """Say what is to be told, and to which endpoints.

    \b
    Example:
      tallymark rules list
    """


@rules.command("create")
@click.argument("file", type=click.File("rb"))
def rules_create(file: IO[bytes]) -> None:
    """Create a rule from FILE.

    FILE is a JSON object (- for standard input): type, name, channels (ids of endpoints), and what the type
    needs. Types: entitlements.balance.threshold, entitlements.reset, entitlements.grant.expiring,
    meter.volume.threshold.

    \b
    Example:
      echo '{"type": "entitlements.balance.threshold", "name": "80 %", "channels": ["ID"],
             "thresholds": [{"type": "usage_percentage", "value": 80}]}' | tallymark rules create -
    """
    print_value(ask_json("POST", RULES, json=read_object(file)))


@rules.command("list")
@click.option("--feature", help="Only those that name this feature: an id or key.")
@click.option("--endpoint", help="Only those that send to this endpoint.")
@format_option("table", "json")
def rules_list(feature: str | None, endpoint: str | None, form: str) -> None:
    """List rules, oldest first, disabled ones too.

    \b
    Example:
      tallymark rules list --feature tokens
    """
    asked = {"includeDisabled": "true", "feature": feature, "channel": endpoint}
    rows = list(pages(RULES, [(name, value) for name, value in asked.items() if value is not None]))
    cells = (
        (row["id"], row["name"], row["type"], _told(row), " ".join(one["id"] for one in row["channels"]),
         "disabled" if row["disabled"] else "on")
        for row in rows
    )  # fmt: skip
    listed(rows, form, ("id", "name", "type", "tells of", "endpoints", "state"), cells)


@rules.command("delete")
@click.argument("id")
def rules_delete(id: str) -> None:
    """Delete the rule ID: it tells nothing more.

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

    The event is real, its data is made up.

    \b
    Example:
      tallymark rules test 01J8Z3V9T2M4K6P8R0S2V4X6Z8 && tallymark deliveries list
    """
    event = ask_json("POST", f"{RULES}/{segment(id)}/test")
    click.echo(f"{event['id']} is on its way to {len(event['deliveryStatus'])} endpoint(s).")


@click.group()
def endpoints() -> None:
    """Say where webhooks go.

    \b
    Example:
      tallymark endpoints create billing https://example.com/webhooks
    """


@endpoints.command("create")
@click.argument("name")
@click.argument("url")
@click.option("--header", "headers", multiple=True, metavar="K=V", help="Send this too; repeat for several.")
@click.option("--secret", metavar="SECRET", help="What is signed with: whsec_...  [default: a new one]")
def endpoints_create(name: str, url: str, headers: tuple[str, ...], secret: str | None) -> None:
    """Create the endpoint NAME at URL; print its id and its secret, this once.

    \b
    Example:
      tallymark endpoints create billing https://example.com/webhooks --header x-team=billing
    """
    wish: OutputRow = {"type": "WEBHOOK", "name": name, "url": url}
    if headers:
        wish["customHeaders"] = dict(_header(one) for one in headers)
    if secret is not None:
        wish["signingSecret"] = secret
    made = ask_json("POST", CHANNELS, json=wish)
    click.echo(f"{made['id']}\n{made['signingSecret']}")


@endpoints.command("list")
@format_option("table", "json")
def endpoints_list(form: str) -> None:
    """List endpoints, oldest first, disabled ones too.

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
              metavar="SECONDS", help="How long the old secret signs along.")  # fmt: skip
def endpoints_rotate(id: str, overlap_s: int) -> None:
    """Replace the secret of the endpoint ID; print the new one, this once.

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
    """See what became of webhooks, and send them again.

    \b
    Example:
      tallymark deliveries list --state FAILED
    """


@deliveries.command("list")
@click.option("--endpoint", help="Only those to this endpoint.")
@click.option("--event", help="Only those of this event.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only those in this state.")
@click.option(
    "--from", "from_", metavar="TIME", help="First instant of the event: RFC 3339, or a date in UTC."
)
@click.option("--to", metavar="TIME", help="First instant that is not in it any more.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@format_option("table", "json")
def deliveries_list(form: str, limit: int, state: str | None, from_: str | None, **asked: str | None) -> None:
    """List deliveries, newest first.

    \b
    Example:
      tallymark deliveries list --state FAILED --from 2026-01-01
    """
    asked |= {"from": from_, "state": state and state.upper()}
    params: list[tuple[str, Any]] = [(name, value) for name, value in asked.items() if value is not None]
    rows = ask_json("GET", DELIVERIES, params=[*params, ("pageSize", limit)])["items"]
    cells = (
        (row["id"], row["createdAt"], row["event"]["type"], row["channel"]["id"], row["state"],
         str(row["tries"]), _last(row), row.get("nextAttempt", ""))
        for row in rows
    )  # fmt: skip
    columns = ("id", "event at", "type", "endpoint", "state", "tries", "last answer", "next try")
    listed(rows, form, columns, cells, right=("tries",))


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
@click.option("--from", "from_", metavar="TIME", required=True, help="RFC 3339, or a date in UTC.")
@click.option("--to", metavar="TIME", required=True, help="First instant that is not in it any more.")
@click.option("--state", "states", type=click.Choice(STATES, case_sensitive=False), multiple=True,
              help="Those in this state; repeat for several.  [default: FAILED]")  # fmt: skip
def deliveries_replay(endpoint: str, from_: str, to: str, states: tuple[str, ...]) -> None:
    """Send what ENDPOINT was to get in a time range again.

    \b
    Example:
      tallymark deliveries replay 01J8Z3V9T2M4K6P8R0S2V4X6Z8 --from 2026-01-01 --to 2026-01-02
    """
    wish: OutputRow = {"from": from_, "to": to}
    if states:
        wish["states"] = [state.upper() for state in states]
    wanted = ask_json("POST", f"/endpoints/{segment(endpoint)}/replay", json=wish)
    click.echo(f"What is {' or '.join(wanted['states'])} is sent again.")


COMMANDS: list[click.Command] = [rules, endpoints, deliveries]


def _header(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise Rejected("bad-endpoint", f"--header {given} is not of the form k=v.")
    return name, value


def _told(rule: OutputRow) -> str:
    """What a rule is about, in a few words."""
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
