"""The commands about access: API keys and the audit log. They call the API.

Owns: their arguments and tables. Does not own: responses (api), the rules of keys (core.access.api_key).
"""

from __future__ import annotations

import click

from pipeline.cli.api import ask, ask_json, given, load_settings, pages
from pipeline.cli.output import OutputRow, format_option, listed
from pipeline.cli.paths import segment
from pipeline.errors import Rejected

KEY_COLUMNS = ("id", "name", "scopes", "ends with", "created", "expires", "state")


@click.group()
def keys() -> None:
    """Create, list, rotate or revoke API keys.

    \b
    Example:
      tallymark keys create gateway --scope ingest
    """


@keys.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, metavar="SCOPE",
              help="What the key may do; may be repeated.")  # fmt: skip
@click.option("--expires", "expires_at", metavar="TIME", help="When it expires: RFC 3339.  [default: never]")
@click.option("--direct", is_flag=True, help="Use Kafka instead of the API: no key is needed.")
@click.option(
    "--namespace", default="default", show_default=True, help="Namespace of the key; only with --direct."
)
def keys_create(
    name: str, scopes: tuple[str, ...], expires_at: str | None, direct: bool, namespace: str
) -> None:
    """Create the key NAME. It is printed only once.

    Scopes: ingest, query, meters:write, customers:write, entitlements:write, webhooks:write, billing:write,
    keys:write, audit:read, admin (all of them).

    \b
    Example:
      tallymark keys create first --scope admin --direct
    """
    if direct:
        from pipeline.stores.kafka import direct_key

        made = direct_key.made("live")
        direct_key.create(load_settings(), namespace, made, name, scopes, expires_at)
        click.echo(made.text)
        return
    if namespace != "default":
        raise Rejected(
            "bad-key",
            "--namespace requires --direct; the API creates keys in the namespace of the caller's key.",
        )
    body: OutputRow = {"name": name, "scopes": list(scopes)}
    if expires_at is not None:
        body["expiresAt"] = expires_at
    click.echo(ask_json("POST", "/keys", json=body)["key"])


@keys.command("list")
@format_option("table", "json")
def keys_list(form: str) -> None:
    """List the keys of this namespace, also revoked ones.

    \b
    Example:
      tallymark keys list
    """
    rows = list(pages("/keys"))
    cells = (
        (row["id"], row["name"], " ".join(row["scopes"]), row["last4"], row["createdAt"],
         row.get("expiresAt", ""), _state(row))
        for row in rows
    )  # fmt: skip
    listed(rows, form, KEY_COLUMNS, cells)


@keys.command("rotate")
@click.argument("id")
@click.option("--overlap", "overlap_s", type=click.IntRange(0, 2_592_000), default=86_400, show_default=True,
              metavar="SECONDS", help="How long the old key stays valid.")  # fmt: skip
def keys_rotate(id: str, overlap_s: int) -> None:
    """Replace the key ID by a new one, which is printed only once.

    ID is the second part of a key: um_live_ID_...

    \b
    Example:
      tallymark keys rotate NiizkTpo --overlap 3600
    """
    click.echo(ask_json("POST", f"/keys/{segment(id)}/rotate", json={"overlapS": overlap_s})["key"])


@keys.command("revoke")
@click.argument("id")
@click.option("--direct", is_flag=True, help="Use Kafka instead of the API: no key is needed.")
@click.option("--force", is_flag=True, help="Even the last admin key of the namespace; only with --direct.")
@click.option(
    "--namespace", default="default", show_default=True, help="Namespace of the key; only with --direct."
)
def keys_revoke(id: str, direct: bool, force: bool, namespace: str) -> None:
    """Revoke the key ID: the API refuses it from then on.

    \b
    Example:
      tallymark keys revoke NiizkTpo
    """
    if direct:
        from pipeline.stores.kafka import direct_key

        direct_key.revoke(load_settings(), namespace, id, force)
    elif force or namespace != "default":
        raise Rejected("bad-key", "--force and --namespace require --direct.")
    else:
        ask("DELETE", f"/keys/{segment(id)}")
    click.echo(f"{id} is revoked.")


@click.command()
@click.option("--from", "from_", metavar="TIME", help="Start, inclusive: RFC 3339, or a date in UTC.")
@click.option("--to", metavar="TIME", help="End, exclusive.")
@click.option("--actor", help="Only changes by this key (its public id).")
@click.option("--kind", help="Only this kind of change, such as customer.create.")
@click.option("--name", help="Only changes of the object with this id or slug.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@format_option("table", "json")
@click.pass_context
def audit(ctx: click.Context, /, form: str, from_: str | None, limit: int, **asked: str | None) -> None:
    """Show who changed what and when, newest first.

    Exit code 1 when the hash chain is broken, so an entry was changed or removed.

    \b
    Example:
      tallymark audit --kind key.create --from 2026-01-01
    """
    params = [*given({"from": from_, **asked}), ("pageSize", limit)]
    answer = ask_json("GET", "/audit", params=params)
    rows = answer["items"]
    cells = (
        (
            row["at"],
            row["actor"],
            row["kind"],
            row["name"],
            row["error"] or "done",
            row["ip"],
            row["requestId"],
        )
        for row in rows
    )
    listed(answer, form, ("at", "actor", "change", "of", "result", "from", "request"), cells)
    if not answer["chain"]["holds"]:
        click.echo(answer["chain"]["detail"], err=True)
    ctx.exit(0 if answer["chain"]["holds"] else 1)


COMMANDS: list[click.Command] = [keys, audit]


def _state(key: OutputRow) -> str:
    if "revokedAt" in key:
        return "revoked"
    return f"replaced by {key['rotatedTo']}" if "rotatedTo" in key else "active"
