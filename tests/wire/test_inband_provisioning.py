from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.inband_provisioning import (
    InbandProvisioning,
    ServiceUrl,
    decode_inband_provisioning,
    decode_provisioning_request,
    encode_inband_provisioning,
    encode_provisioning_request,
)
from phonesim.wire.sip_server import SipServer

NAMESPACE = "http://schemas.microsoft.com/2006/09/sip/provisiongrouplist-notification"
HOSTS = st.from_regex(r"[a-z][a-z0-9.\-]{0,20}[a-z0-9]", fullmatch=True)
SERVERS = st.builds(
    SipServer, host=HOSTS, port=st.integers(1, 65535), transport=st.sampled_from(["tls", "tcp"])
)
URLS = st.builds(
    ServiceUrl,
    scheme=st.sampled_from(["http", "https"]),
    host=HOSTS,
    port=st.integers(1, 65535),
    path=st.from_regex(r"/[!-~]{0,40}", fullmatch=True),
)


def body(properties: str, group: str = "endpointConfiguration") -> bytes:
    return (
        f'<provisionGroupList xmlns="{NAMESPACE}"><provisionGroup name="{group}">{properties}'
        "</provisionGroup></provisionGroupList>"
    ).encode()


@given(st.lists(SERVERS, max_size=2), st.none() | URLS)
def test_what_is_written_is_read(servers: list[SipServer], url: ServiceUrl | None) -> None:
    told = InbandProvisioning(registrars=tuple(servers), web_services=url)
    assert decode_inband_provisioning(encode_inband_provisioning(told)) == told


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), max_size=5))
def test_the_groups_asked_for_are_read(groups: list[str]) -> None:
    assert decode_provisioning_request(encode_provisioning_request(groups)) == tuple(groups)


@given(st.binary())
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    for decode in (decode_inband_provisioning, decode_provisioning_request):
        with contextlib.suppress(DecodeError):
            decode(octets)


def test_other_groups_and_properties_are_passed_over() -> None:
    assert (
        decode_inband_provisioning(body('<property name="x">y</property><other/>'))
        == InbandProvisioning()
    )
    assert (
        decode_inband_provisioning(
            body('<property name="backupRegistrar">sip:fe02</property>', "ucPolicy")
        )
        == InbandProvisioning()
    )


@pytest.mark.parametrize(
    ("octets", "fragment"),
    [
        (b"<x/>", "no provisionGroupList"),
        (body('<property name="primaryRegistrar">http://x</property>'), "no SIP URI"),
        (body('<property name="backupRegistrar">sip:fe02</property>'), "no primary"),
        (body('<property name="certProvisioningUrl">/x</property>'), "no http or https URL"),
        (body('<property name="certProvisioningUrl">http://h:0/x</property>'), "port 0"),
        (
            body('<property name="x">1</property><property name="x">2</property>'),
            "occurs twice",
        ),
        (body('<property name="primaryRegistrar"><a/></property>'), "holds elements"),
        (b"<!DOCTYPE x>", "DTD"),
    ],
)
def test_what_is_wrong_is_named(octets: bytes, fragment: str) -> None:
    with pytest.raises(DecodeError, match=fragment):
        decode_inband_provisioning(octets)
