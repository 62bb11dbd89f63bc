"""Where a webhook may go: the form of its URL, and the addresses that its name may have.

Owns: the rules that keep a webhook from reaching what only we can reach (SSRF). Does not own: resolving and connecting
(stores.webhook_http), which must check every address with `refusal` at the moment of connecting.
Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), RFC 6052 (NAT64).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import idna

from pipeline.errors import Rejected

MOST_URL_CHARACTERS = 2_048
HTTPS_PORTS = frozenset({443, 8443})
HTTP_PORTS = frozenset({80, 8080})

_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f\\#<>\"^`{|}]").search
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch  # resolvers read such a name as an address
_PRIVATE_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "corp", "private")

_Network4 = ipaddress.IPv4Network
_Network6 = ipaddress.IPv6Network

# Everything that is not on the public internet, and what clouds answer on.
_REFUSED_4 = [
    (_Network4(net), why)
    for net, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, metadata"),
        ("168.63.129.16/32", "metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]
_NAT64 = _Network6("64:ff9b::/96")
_GLOBAL_6 = _Network6("2000::/3")
_REFUSED_6 = [
    (_Network6(net), why)
    for net, why in (
        ("2001::/23", "protocol assignments, Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed beyond https to public addresses. For receivers on the own machine, in tests and demos.

    allow_hosts: names and addresses, lower case, whose address and port are not checked.
    """

    allow_http: bool = False
    allow_hosts: frozenset[str] = frozenset()


STRICT = Policy()


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed `target`. `host` is a name in A-labels, or an address without brackets."""

    url: str
    scheme: str
    host: str
    port: int


def target(url: str, policy: Policy = STRICT) -> Target:
    """The parts of a URL that a webhook may be sent to. Raises Rejected("unsafe-url")."""
    if not url.isprintable() or len(url) > MOST_URL_CHARACTERS or _FORBIDDEN_CHARACTERS(url):
        raise _unsafe("it has a character that no such URL needs, or it is too long")
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname
    except ValueError:
        raise _unsafe("it cannot be read") from None
    schemes = ("https", "http") if policy.allow_http else ("https",)
    if parts.scheme not in schemes:
        raise _unsafe(f"it does not begin with {schemes[0]}://")
    if "@" in parts.netloc:
        raise _unsafe("it holds a user name")
    if not name or parts.netloc.endswith(":"):
        raise _unsafe("it names no host, or no port behind a colon")
    host = _host(name)
    allowed = host in policy.allow_hosts
    if not allowed:
        _check_host(host)
    ports = HTTPS_PORTS if parts.scheme == "https" else HTTP_PORTS
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    if not allowed and port not in ports:
        raise _unsafe(f"its port is none of {', '.join(map(str, sorted(ports)))}")
    return Target(_rebuilt(parts.scheme, host, port, parts.path, parts.query), parts.scheme, host, port)


def refusal(address: str) -> str | None:
    """Why no webhook may go to this address (an IPv4 or IPv6 literal); None: it may."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(found, ipaddress.IPv4Address):
        return _refusal_4(found)
    if found.ipv4_mapped is not None:
        return _refusal_4(found.ipv4_mapped)
    if found.scope_id is not None:
        return "link-local"
    if found in _NAT64:
        return _refusal_4(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF))
    if found not in _GLOBAL_6:
        return "not global unicast"
    return next((why for net, why in _REFUSED_6 if found in net), None)


def check_addresses(host: str, addresses: list[str], policy: Policy = STRICT) -> None:
    """All the addresses of a name, or none: one that is refused refuses the name. Raises Rejected("unsafe-address")."""
    if not addresses:
        raise Rejected("unsafe-address", f"{host} has no address.")
    if host in policy.allow_hosts:
        return
    for address in addresses:
        if (why := refusal(address)) is not None:
            raise Rejected("unsafe-address", f"{host} leads to {address}, which is {why}.")


def _refusal_4(address: ipaddress.IPv4Address) -> str | None:
    return next((why for net, why in _REFUSED_4 if address in net), None)


def _host(name: str) -> str:
    """The name as it goes on the wire: A-labels, lower case, without the root's dot."""
    if ":" in name:
        return name  # an IPv6 literal; urlsplit took the brackets off
    try:
        encoded = name if name.isascii() else idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        raise _unsafe("its host is no valid name") from None
    return encoded.lower().removesuffix(".")


def _check_host(host: str) -> None:
    if _is_address(host):
        if (why := refusal(host)) is not None:
            raise _unsafe(f"{host} is {why}")
        return
    labels = host.split(".")
    if _NUMERIC_LABEL(labels[-1]):
        raise _unsafe("its host is a number, and no address in the usual form")
    if len(host) > 253 or not all(_LABEL(label) for label in labels):
        raise _unsafe("its host is no valid name")
    if len(labels) < 2 or any(host == name or host.endswith("." + name) for name in _PRIVATE_NAMES):
        raise _unsafe("its host is a name inside a network")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _rebuilt(scheme: str, host: str, port: int, path: str, query: str) -> str:
    """The URL made of what was checked, so that no other reader of URLs finds another host in it."""
    shown = f"[{host}]" if ":" in host else host
    default = 443 if scheme == "https" else 80
    place = shown if port == default else f"{shown}:{port}"
    return f"{scheme}://{place}{path or '/'}{'?' + query if query else ''}"


def _unsafe(why: str) -> Rejected:
    return Rejected("unsafe-url", f"The URL cannot receive webhooks: {why}.")
