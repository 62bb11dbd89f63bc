"""Where webhooks may not go: every way to name an address that only we can reach."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.notifications.safe_address import Policy, check_addresses, refusal, target
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


def test_a_policy_allows_what_it_names_and_nothing_else() -> None:
    local = Policy(allow_http=True, allow_hosts=frozenset({"127.0.0.1", "kafka"}))
    assert target("http://127.0.0.1:9999/hook", local).port == 9999
    assert target("https://kafka:1/hook", local).host == "kafka"
    check_addresses("kafka", ["10.0.0.1"], local)
    for url in ("http://127.0.0.2:9999/", "http://localhost/", "http://127.1/", "http://example.com:9999/"):
        with pytest.raises(Rejected):
            target(url, local)
    with pytest.raises(Rejected):
        target("http://127.0.0.1/", Policy(allow_hosts=frozenset({"127.0.0.1"})))


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
        check_addresses("example.com", addresses)
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
