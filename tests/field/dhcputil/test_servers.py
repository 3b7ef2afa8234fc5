from __future__ import annotations

import msgspec
import pytest

from phonesim.errors import DecodeError, UsageError
from phonesim.field.dhcputil.servers import SERVERS, Server, read_options, server_named
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values

each_server = pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
NO_CLASSES = ("cisco-ios",)


def told(values: SignInValues, server: Server) -> set[tuple[int, str | None, bytes]]:
    """What a server is to say: option, class, octets."""
    has_classes = server.name not in NO_CLASSES
    found: set[tuple[int, str | None, bytes]] = {
        (43, "MS-UC-Client" if has_classes else None, values.option_43),
        (120, None, values.option_120),
    }
    if values.vlan_option_43 is not None:
        found.add((43, "CPE-OCPHONE", values.vlan_option_43))
    return found


@each_server
@pytest.mark.parametrize("web_server", ["sip.contoso.com", "a-long-name.fqdn.company.com"])
def test_what_is_written_is_read_back(server: Server, web_server: str) -> None:
    vlan_id = None if server.name in NO_CLASSES else 110
    names = ["fe01.contoso.com", "fe02.contoso.com"]
    values = read_sign_in_values(names, web_server=web_server, vlan_id=vlan_id)

    found = read_options(server.write(values))

    assert {(each.code, each.vendor_class, each.octets) for each in found} == told(values, server)
    assert all(not each.notes for each in found)
    assert [each.line for each in found] == sorted(each.line for each in found)


@each_server
def test_what_takes_it_out_again_sets_nothing(server: Server, values: SignInValues) -> None:
    if server.name in NO_CLASSES:
        values = msgspec.structs.replace(values, vlan_id=None)
    removal = server.remove(values)
    assert removal.endswith("\n")
    if server.name in ("kea", "isc-dhcpd", "dnsmasq", "infoblox"):
        assert all(line.startswith("#") for line in removal.splitlines())
    with pytest.raises(DecodeError):
        read_options(removal)


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("000373697007636F6E746F736F03636F6D00", None, 120),
        ("0A03313030", None, 43),
        ("736970.2e63.6f6e746f736f2e636f6d", None, 120),
        ("000373697007636F6E746F736F03636F6D00", 43, 43),
        ("01", None, 43),
    ],
)
def test_octets_without_a_label_are_what_they_look_like(
    text: str, code: int | None, expected: int
) -> None:
    (option,) = read_options(text, code)
    assert (option.code, option.vendor_class) == (expected, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no hexadecimal digits"),
        ("option 66 ip 10.0.0.1", "no option 43 or 120 of a DHCP server that is known"),
        ("\0\1\2", "this is not text"),
        ("\ufffd", "this is not text"),
        ('{"option-data": [{"code": 43, "data": "01X"}]}', 'line 1: data of option 43: "X"'),
    ],
)
def test_what_holds_no_option_is_refused(text: str, complaint: str) -> None:
    if "01X" in text:
        text = text.replace('"code"', '"csv-format": false, "code"')
    with pytest.raises(DecodeError) as caught:
        read_options(text)
    assert complaint in str(caught.value)


def test_servers_have_names() -> None:
    assert server_named("kea").title == "ISC Kea"
    with pytest.raises(UsageError, match="no DHCP server is called 'bind': windows-netsh, "):
        server_named("bind")
