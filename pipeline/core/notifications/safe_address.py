"""Where a webhook may go: the form of its URL, and the addresses that its name may have.

Owns: the rules that keep a webhook from reaching what only we can reach (SSRF). Does not own: resolving and connecting
(stores.webhook_http), which must check every address with `refusal` at the moment of connecting.
Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates), RFC 6052 (NAT64).
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
_WEB_PORTS = frozenset({80, 443})

_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f\\#<>\"^`{|}]").search
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch  # resolvers read such a name as an address
_PORT = re.compile(r"[1-9][0-9]{0,4}|\*", re.ASCII).fullmatch
_PRIVATE_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "corp", "private")

ANY_PORT = "*"

_Network4 = ipaddress.IPv4Network
_Network6 = ipaddress.IPv6Network

# Everything that is not on the public internet, what is there for other purposes than hosts, and what clouds answer on:
# the registries' entries of 2025-05, apart from those within a larger one.
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
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "automatic multicast tunneling"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]
_NAT64 = _Network6("64:ff9b::/96")
_GLOBAL_6 = _Network6(
    "2000::/3"
)  # what is outside is refused: ::/8, 64:ff9b:1::/48, 100::/64, 5f00::/16, fc00::/7
_REFUSED_6 = [
    (_Network6(net), why)
    for net, why in (
        ("2001::/23", "protocol assignments, Teredo, AMT, AS112, ORCHID"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
    )
]


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What is allowed beyond https to public addresses. For receivers on the own machine, in tests and demos.

    allowed: hosts with a port, or with ANY_PORT, whose address and port are not checked. own: hosts and ports of our
    own services. Nothing goes there, and an allowed host may be one of them by another name: nothing goes to their
    ports on it, but for 80 and 443.
    """

    allow_http: bool = False
    allowed: frozenset[tuple[str, str]] = frozenset()
    own: frozenset[tuple[str, int]] = frozenset()

    def allows(self, host: str, port: int) -> bool:
        """Whether the host is allowed by name or address. Raises Rejected("unsafe-url") for a port of ours."""
        is_allowed = (host, str(port)) in self.allowed or (host, ANY_PORT) in self.allowed
        is_own_port = port not in _WEB_PORTS and any(port == own for _, own in self.own)
        if (host, port) in self.own or (is_allowed and is_own_port):
            raise _unsafe(f"{host}:{port} is one of Tallymark's own services")
        return is_allowed


STRICT = AddressPolicy()


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed `target`. `host` is a name in A-labels, or an address without brackets."""

    url: str
    scheme: str
    host: str
    port: int


def target(url: str, policy: AddressPolicy = STRICT) -> Target:
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
    ports = HTTPS_PORTS if parts.scheme == "https" else HTTP_PORTS
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    if not policy.allows(host, port):
        _check_host(host)
        if port not in ports:
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


def check_addresses(host: str, port: int, addresses: list[str], policy: AddressPolicy = STRICT) -> None:
    """All the addresses of a name, or none: one that is refused refuses the name.

    Raises Rejected("unsafe-address"), Rejected("unsafe-url").
    """
    if not addresses:
        raise Rejected("unsafe-address", f"{host} has no address.")
    is_allowed = policy.allows(host, port)
    for address in addresses:
        if (address, port) in policy.own:
            raise _unsafe(f"{host}:{port} is one of Tallymark's own services")
        if not is_allowed and (why := refusal(address)) is not None:
            raise Rejected("unsafe-address", f"{host} leads to {address}, which is {why}.")


def allowed_hosts(text: str) -> frozenset[tuple[str, str]]:
    """The entries of a list `host:port,host:*,[::1]:port`. Raises Rejected("bad-setting")."""
    found = set()
    for entry in filter(None, (one.strip().lower() for one in text.split(","))):
        host, colon, port = entry.rpartition(":")
        name = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        if not colon or not name or (":" in name and name == host) or not _PORT(port):
            raise Rejected(
                "bad-setting", f"{entry!r} is not host:port; any port but Tallymark's own is host:*"
            )
        found.add((_host(name), port))
    return frozenset(found)


def _refusal_4(address: ipaddress.IPv4Address) -> str | None:
    return next((why for net, why in _REFUSED_4 if address in net), None)


def _host(name: str) -> str:
    """The name as it is sent to a resolver: A-labels, lower case, without the root's dot."""
    if ":" in name:
        return _address_text(name)  # an IPv6 literal; urlsplit took the brackets off
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


def _address_text(text: str) -> str:
    """An IPv6 literal in its shortest form; what is none stays, to be refused."""
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return text


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
