"""Creates the client for a ClickHouse URL.

Owns: parsing the URL. Does not own: the protocols (clickhouse.native, clickhouse.http).
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from pipeline.errors import Rejected
from pipeline.stores.clickhouse.client import NAME, PATIENT, ClickHouse, Patience


def connect(url: str, password: str = "", patience: Patience = PATIENT) -> ClickHouse:
    """The client for `url`: http[s]://[user@]host:port/database, or native clickhouse[s]://.

    chdb+http:// is the local stack. It connects on first use.

    Args:
        url: A password in it takes precedence.
        password: Of the user in `url`.
        patience: Limits of every connection.

    Raises:
        Rejected: `bad-setting` if the URL is invalid.
    """
    parts = urlsplit(url)
    database = unquote(parts.path.strip("/")) or "tallymark"
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a password
    if not parts.hostname or not NAME.fullmatch(database):
        raise Rejected(
            "bad-setting", f"clickhouse is {shown!r}, but it must have a host and a database name."
        )
    password = unquote(parts.password or "") or password
    if parts.scheme == "chdb+http":
        from pipeline.stores.clickhouse.http import HttpClickHouse

        return HttpClickHouse(parts.hostname, parts.port or 8123, database, password, patience)
    user = unquote(parts.username or "default")
    if parts.scheme in ("http", "https"):
        from pipeline.stores.clickhouse.http import HttpClickHouse

        is_secure = parts.scheme == "https"
        port = parts.port or (8443 if is_secure else 8123)
        return HttpClickHouse(parts.hostname, port, database, password, patience, user=user, secure=is_secure)
    if parts.scheme in ("clickhouse", "clickhouses"):
        from pipeline.stores.clickhouse.native import NativeClickHouse

        secure = parts.scheme == "clickhouses"
        return NativeClickHouse(
            parts.hostname,
            parts.port or (9440 if secure else 9000),
            database,
            user=user,
            password=password,
            secure=secure,
            patience=patience,
        )
    raise Rejected(
        "bad-setting", f"clickhouse is {shown!r}, but it must begin with http://, https:// or clickhouse://."
    )
