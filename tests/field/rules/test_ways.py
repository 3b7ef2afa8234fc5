from __future__ import annotations

import pytest
from made_boots import (
    LOCATED,
    OPTION_43,
    OPTION_120,
    SRV,
    URL,
    answer,
    boot_of,
    connecting,
    failed,
    http_failed,
    http_sent,
    option_43,
    option_120,
    registrar_failed,
    sent,
    shown,
)

from phonesim.device import device_log as log
from phonesim.field.rules import ways

TWO_TARGETS = answer(
    SRV,
    "SRV 10 0 5061 FE01.contoso.com. ttl 9, SRV 20 0 5061 fe02.contoso.com ttl 9",
    qtype="SRV",
)


@pytest.mark.parametrize(
    ("url", "host"),
    [(URL, "webpool.contoso.com"), ("http://Web1/x", "web1"), ("", ""), ("/path", "")],
)
def test_urls_have_hosts(url: str, host: str) -> None:
    assert ways.host_of_url(url) == host


def test_registrars_have_hosts() -> None:
    assert ways.host_of_registrar("FE01.contoso.com:5061") == "fe01.contoso.com"


def test_dhcp_gives_the_first_url_that_there_is() -> None:
    boot = boot_of(option_43(OPTION_43[:20]), option_43(url=URL, server="192.0.2.9"))
    option = ways.web_url_of_dhcp(boot)
    assert option is not None
    assert option["server"] == "192.0.2.9"
    assert ways.web_url_of_dhcp(boot_of(option_43(OPTION_43[:20]))) is None


def test_dhcp_gives_registrars_in_order() -> None:
    boot = boot_of(option_120(OPTION_120, "fe01.contoso.com+FE02.contoso.com"))
    assert list(ways.registrars_of_dhcp(boot)) == ["fe01.contoso.com", "fe02.contoso.com"]


def test_plain_text_is_a_registrar_if_the_phone_went_there() -> None:
    text = option_120(b"fe01.contoso.com".hex(), "fe01.contoso.com")
    refused = failed("register", "registrar-not-located")
    assert not ways.registrars_of_dhcp(boot_of(text, refused))
    assert ways.registrars_of_dhcp(boot_of(text, connecting("fe01.contoso.com"), refused))


def test_dns_names_the_targets_of_srv_records() -> None:
    boot = boot_of(TWO_TARGETS)
    assert list(ways.srv_targets(boot)) == ["fe01.contoso.com", "fe02.contoso.com"]
    assert ways.has_registrar_in_dns(boot)


@pytest.mark.parametrize(
    ("name", "records", "has_one"),
    [
        ("sip.contoso.com", "A 192.0.2.21 ttl 9", True),
        ("sip.contoso.com", "", False),
        ("webpool.contoso.com", "A 192.0.2.21 ttl 9", False),
    ],
)
def test_dns_names_a_registrar_without_srv(name: str, records: str, has_one: bool) -> None:
    assert ways.has_registrar_in_dns(boot_of(answer(name, records))) is has_one


def test_hosts_are_denied_if_dns_said_so_and_never_otherwise() -> None:
    boot = boot_of(
        answer("gone.contoso.com"),
        answer("empty.contoso.com", rcode="NOERROR"),
        answer("late.contoso.com"),
        answer("late.contoso.com", "CNAME a.contoso.com ttl 9, A 192.0.2.1 ttl 9"),
        answer("failed.contoso.com", rcode="SERVFAIL"),
        answer("v6.contoso.com", "AAAA 2001:db8::1 ttl 9"),
    )
    assert set(ways.denied_hosts(boot)) == {"gone.contoso.com", "empty.contoso.com"}


def test_web_hosts_that_failed_are_named_by_their_failure_or_by_the_request_before() -> None:
    boot = boot_of(http_failed("refused"))
    assert set(ways.failed_web_hosts(boot)) == {"webpool.contoso.com"}
    boot = boot_of(http_sent(), log.HTTP_FAILED("GetMetadata", "refused", "connection refused"))
    assert set(ways.failed_web_hosts(boot)) == {"webpool.contoso.com"}


@pytest.mark.parametrize(
    ("operation", "port", "is_of_chain"),
    [
        ("GetRootCertChains", 8080, True),
        ("", 80, True),
        ("", 443, False),
        ("GetMetadata", 80, False),
    ],
)
def test_the_chain_is_fetched_from_port_80(operation: str, port: int, is_of_chain: bool) -> None:
    boot = boot_of(log.HTTP_FAILED(operation, "refused", f"web1 (192.0.2.20:{port}): refused"))
    assert ways.is_of_chain(boot.sightings[0]) is is_of_chain


@pytest.mark.parametrize(
    ("after", "stops"),
    [
        ([], False),
        ([sent("RELEASE")], True),
        ([shown("capture_ended", 0.1)], False),
        ([shown("capture_ended", 60.0)], True),
        ([http_sent(), sent("RELEASE")], False),
        ([registrar_failed("fe01"), sent("RELEASE")], False),
    ],
)
def test_a_phone_stops_if_it_lives_and_goes_to_no_server(after: list, stops: bool) -> None:
    boot = boot_of(*LOCATED, log.CHAIN_RECEIVED(9), *after)
    chain = boot.last("chain_received")
    assert chain is not None
    assert ways.stops_at(boot, chain) is stops
