"""Where webhooks may not go: every way to name an address that only we can reach."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.notifications.safe_address import (
    AddressPolicy,
    allowed_hosts,
    check_addresses,
    refusal,
    target,
)
from pipeline.errors import Rejected

REFUSED = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.1./",
    "https://1.2.3/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:1::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1%25eth0]/",
    "https://[ff02::1]/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://a.localhost/",
    "https://kafka/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://169.254.169.254/latest/meta-data/",
    "https://168.63.129.16/",
    "https://100.100.100.200/",
    "https://10.0.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://255.255.255.255/",
    "https://user@example.com/",
    "https://example.com@127.0.0.1/",
    "https://user:password@example.com/",
    "https://example.com#@127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https:\\\\example.com/",
    "https://example.com /",
    "https://exam\tple.com/",
    "https://example.com/\r\nHost: evil",
    "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "https://①②⑦.⓪.⓪.①/",
    "https://ⓛocalhost/",
    "https://exa_mple..com/",
    "https://-example.com/",
    "https://" + "a" * 64 + ".com/",
    "https://example.com:22/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:/",
    "https://example.com:abc/",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/",
    "example.com",
    "https://",
    "https:///example.com",
    "",
    "https://[::1",
    "https://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize("url", REFUSED)
def test_refused(url: str) -> None:
    with pytest.raises(Rejected) as found:
        target(url)
    assert found.value.reason == "unsafe-url"


@pytest.mark.parametrize(
    ("url", "whole", "host", "port"),
    [
        ("https://example.com", "https://example.com/", "example.com", 443),
        ("https://Example.COM:443/a?b=c", "https://example.com/a?b=c", "example.com", 443),
        ("https://example.com.:8443/a", "https://example.com:8443/a", "example.com", 8443),
        ("https://8.8.8.8/x", "https://8.8.8.8/x", "8.8.8.8", 443),
        ("https://[2606:4700::1111]/x", "https://[2606:4700::1111]/x", "2606:4700::1111", 443),
        ("https://[64:ff9b::808:808]/", "https://[64:ff9b::808:808]/", "64:ff9b::808:808", 443),
        (
            "https://bücher.example.org/",
            "https://xn--bcher-kva.example.org/",
            "xn--bcher-kva.example.org",
            443,
        ),
        ("https://0x7f.example.com/", "https://0x7f.example.com/", "0x7f.example.com", 443),
    ],
)
def test_taken(url: str, whole: str, host: str, port: int) -> None:
    found = target(url)
    assert (found.url, found.host, found.port) == (whole, host, port)


LOCAL = AddressPolicy(
    allow_http=True, allowed=allowed_hosts("127.0.0.1:9999, kafka:*,[0:0::1]:81,Hooks.Example.com.:443")
)


def test_a_policy_allows_what_it_names_and_nothing_else() -> None:
    assert target("http://127.0.0.1:9999/hook", LOCAL).port == 9999
    assert target("https://kafka:1/hook", LOCAL).host == "kafka"
    assert target("http://[::1]:81/", LOCAL).host == target("http://[0:0:0::1]:81/", LOCAL).host == "::1"
    check_addresses("kafka", 1, ["10.0.0.1"], LOCAL)
    check_addresses("hooks.example.com", 443, ["10.0.0.1"], LOCAL)
    for url in ("http://127.0.0.2:9999/", "http://127.0.0.1:9998/", "http://localhost/", "http://127.1:9999/",
                "http://example.com:9999/", "http://[::1]:82/", "http://[::ffff:127.0.0.1]:9999/"):  # fmt: skip
        with pytest.raises(Rejected):
            target(url, LOCAL)
    with pytest.raises(Rejected):
        target("http://127.0.0.1:9999/", AddressPolicy(allowed=LOCAL.allowed))
    with pytest.raises(Rejected):
        check_addresses("hooks.example.com", 8443, ["10.0.0.1"], LOCAL)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "localhost", "a:b", "a:0", "a:99999999", ":80", "[::1]", "::1:80", "a:80 b:80", "*:80:"],
)
def test_an_entry_is_a_host_and_a_port(text: str) -> None:
    with pytest.raises(Rejected) as found:
        allowed_hosts(text)
    assert found.value.reason == "bad-setting"


OWN = AddressPolicy(
    allow_http=True,
    allowed=allowed_hosts("127.0.0.1:*,localhost:9092,kafka-1:9092,inner.example:443"),
    own=frozenset({("127.0.0.1", 9092), ("kafka-1", 9092), ("127.0.0.1", 8124), ("api.example.com", 443)}),
)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9092/", "http://127.0.0.1:8124/?query=DROP", "http://localhost:9092/", "http://kafka-1:9092/",
     "https://api.example.com/x"],
)  # fmt: skip
def test_our_own_services_are_never_reached(url: str) -> None:
    with pytest.raises(Rejected, match="own services"):
        target(url, OWN)


def test_a_name_that_leads_to_our_own_service_is_refused() -> None:
    own = AddressPolicy(own=frozenset({("93.184.216.34", 443)}))
    check_addresses("example.com", 8443, ["93.184.216.34"], own)
    with pytest.raises(Rejected, match="own services"):
        check_addresses("example.com", 443, ["93.184.216.34"], own)


def test_what_is_beside_our_own_services_is_reached() -> None:
    for url in ("http://127.0.0.1:8890/", "https://example.com/", "https://inner.example/"):
        target(url, OWN)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["8.8.8.8", "::1"],
        ["2606:4700::1111", "fe80::1%eth0"],
        [],
        ["x"],
    ],
)
def test_one_bad_address_refuses_the_name(addresses: list[str]) -> None:
    with pytest.raises(Rejected) as found:
        check_addresses("example.com", 443, addresses)
    assert found.value.reason == "unsafe-address"


@given(st.integers(0, (1 << 32) - 1))
def test_what_python_calls_not_global_is_refused_in_every_spelling(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    if address.is_global and not address.is_multicast:
        return
    spellings = [str(address), f"::ffff:{address}", str(ipaddress.IPv6Address((0x64FF9B << 96) + number))]
    spellings.append(str(ipaddress.IPv6Address((0x2002 << 112) + (number << 80))))
    assert all(refusal(spelling) for spelling in spellings)


@given(st.integers(0, (1 << 128) - 1))
def test_any_ipv6_that_python_calls_not_global_is_refused(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    if not address.is_global or address.is_multicast:
        assert refusal(str(address))


# https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry, every entry.
SPECIAL = """
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
255.255.255.255/32
::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128
2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16
2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10
"""


@pytest.mark.parametrize("net", SPECIAL.split())
def test_every_special_purpose_network_is_refused_to_its_edges(net: str) -> None:
    network = ipaddress.ip_network(net)
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert refusal(str(address))
        if isinstance(address, ipaddress.IPv4Address):
            assert refusal(f"::ffff:{address}") and refusal(
                str(ipaddress.IPv6Address((0x64FF9B << 96) + int(address)))
            )


def test_networks_next_to_special_purpose_networks_are_reached() -> None:
    for address in ("192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0", "192.175.47.255",
                    "192.175.49.0", "2620:4f:7fff::1", "2620:4f:8001::1", "2001:200::1",
                    "64:ff9b::808:808"):  # fmt: skip
        assert refusal(address) is None
