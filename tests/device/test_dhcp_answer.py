"""What a DHCP answer says to a phone (with the race around it: test_discovery.py)."""

from __future__ import annotations

import pytest

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.device.dhcp_answer import read_dhcp_answer
from phonesim.wire.dhcp import DhcpMessage, MessageType
from phonesim.wire.provisioning import UcOptions, encode_sip_servers, encode_uc_options

CONFIG = DiscoveryConfig()
OPTION_43 = encode_uc_options(
    UcOptions(
        uc_identifier="MS-UC-Client",
        url_scheme="https",
        web_server_fqdn="web.a.example",
        web_server_port=443,
        cert_prov_rel_path="/x",
    )
)
OPTION_120 = encode_sip_servers(["fe01.a.example", "fe02.a.example"])


def read(**options: bytes) -> tuple[str, list[str], bool, list[tuple[object, ...]]]:
    """URL, Registrars, whether it can win, and the records."""
    message = DhcpMessage(
        message_type=MessageType.ACK,
        xid=1,
        chaddr=bytes(6),
        options={int(code.removeprefix("_")): value for code, value in options.items()},
    )
    answer, records = read_dhcp_answer(message, "10.0.0.1", CONFIG)
    url = "" if answer.web_services is None else answer.web_services.url
    told = [(record.name, *record.values) for record in records]
    return url, [each.host for each in answer.registrars], answer.has_fqdn, told


def test_both_options() -> None:
    url, registrars, has_fqdn, told = read(_43=OPTION_43, _120=OPTION_120)
    assert (url, has_fqdn) == ("https://web.a.example:443/x", True)
    assert registrars == ["fe01.a.example", "fe02.a.example"]
    assert told == [
        ("option_43", "10.0.0.1", OPTION_43.hex(), url, "MS-UC-Client"),
        ("option_120", "10.0.0.1", OPTION_120.hex(), "fe01.a.example+fe02.a.example"),
    ]


def test_neither() -> None:
    told = [("option_missing", "10.0.0.1", 43), ("option_missing", "10.0.0.1", 120)]
    assert read() == ("", [], False, told)


@pytest.mark.parametrize(
    ("option_43", "warning"),
    [
        (OPTION_43.replace(b"MS-UC-Client", b"ms-uc-client"), "sub-option 1 is 'ms-uc-client'"),
        (OPTION_43[:20], "no URL can be built from it"),
    ],
)
def test_an_option_that_is_not_used_says_why(option_43: bytes, warning: str) -> None:
    url, _, has_fqdn, told = read(_43=option_43)
    assert (url, has_fqdn) == ("", False)
    assert any(warning in str(each[-1]) for each in told)


def test_only_two_names_of_option_120_are_used() -> None:
    names = [f"fe0{number}.a.example" for number in range(1, 4)]
    _, registrars, _, told = read(_120=encode_sip_servers(names))
    assert registrars == names[:2]
    assert told[-1] == ("option_warning", "10.0.0.1", 120, "only the first 2 names are used")
