"""Whatever is written for a DHCP server says the same when it is read, and any text is read
or refused with `DecodeError`.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.hex_text import read_hex
from phonesim.field.dhcputil.inspection import inspect
from phonesim.field.dhcputil.printed_form import DIALECTS, print_like_dhcputil
from phonesim.field.dhcputil.servers import SERVERS, Server, read_options
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values
from phonesim.profiles import DEVICE, load

PROFILE = load(DEVICE, "polycom-cx600")

labels = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,12}[A-Za-z0-9])?", fullmatch=True)
hosts = st.builds(
    lambda parts, top: ".".join([*parts, top]),
    st.lists(labels, min_size=1, max_size=4),
    st.sampled_from(["com", "example", "x"]),
)
values = st.builds(
    lambda names, web, port, vlan, form: read_sign_in_values(
        names,
        web_server=web,
        port=port,
        vlan_id=vlan,
        vlan_form="ascii" if form == "binary-1" and (vlan or 0) > 255 else form,
    ),
    st.lists(hosts, min_size=1, max_size=2),
    hosts,
    st.none() | st.integers(1, 65535),
    st.none() | st.integers(1, 4094),
    st.sampled_from(["ascii", "binary-1", "binary-2", "binary-4"]),
)
words = st.sampled_from(
    [
        *("option ", "43 ", "120 ", "hex ", "ext ", "ascii ", "{", "}", ";", '"', "\n", ",", ":"),
        *("dhcp-option=", "vendor:", "tag:x,", "netsh dhcp server set optionvalue ", "Binary "),
        *("Word ", "vendor=MSUCClient ", "vendor-encapsulated-options ", "class ", "code ", "= "),
        *('{"code": 43, "data": "', "Set-DhcpServerv4OptionValue -OptionId ", "-Value ", "010C"),
        *("Option 120:\n", "Option 43 (for vendor=x):\n", "sub-option 1 <x>: ", "4D5", "#", "'"),
        *("DHCPConfigScript.bat Configure MS-UC-Client ", "add optiondef ", "0x", "443", "%3"),
    ]
)


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
@given(values=values)
def test_what_a_server_is_told_is_what_was_meant(server: Server, values: SignInValues) -> None:
    if server.name == "cisco-ios":
        values = msgspec.structs.replace(values, vlan_id=None)
    found = {(each.code, each.octets) for each in read_options(server.write(values))}
    meant = {(43, values.option_43), (120, values.option_120)}
    if values.vlan_option_43 is not None:
        meant.add((43, values.vlan_option_43))
    assert found == meant


@pytest.mark.parametrize("dialect", DIALECTS)
@given(values=values)
def test_what_is_printed_is_taken_by_a_phone(dialect: str, values: SignInValues) -> None:
    assert dialect in DIALECTS
    options = read_options(print_like_dhcputil(values, dialect))
    seen = [inspect(each, PROFILE) for each in options]
    assert all(each.is_usable for each in seen)
    services = [
        each.taken_by_phone.web_services for each in seen if each.taken_by_phone.web_services
    ]
    assert [each.url.lower() for each in services] == [values.url.lower()]
    registrars = [each.host for one in seen for each in one.taken_by_phone.registrars]
    assert registrars == [name.lower() for name in values.sip_servers]
    vlans = [
        each.taken_by_phone.vlan_id for each in seen if each.taken_by_phone.vlan_id is not None
    ]
    assert vlans == ([] if values.vlan_id is None else [values.vlan_id])


@given(st.text() | st.lists(words | st.text(max_size=4), max_size=30).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        options = read_options(text)
    except DecodeError:
        return
    assert options
    for option in options:
        inspect(option, PROFILE)


@given(
    st.sampled_from([43, 120]),
    st.binary(max_size=300),
    st.sampled_from([None, "MS-UC-Client", "CPE-OCPHONE", "x"]),
)
def test_any_octets_are_taken_apart(code: int, octets: bytes, vendor_class: str | None) -> None:
    seen = inspect(ConfiguredOption(code=code, octets=octets, vendor_class=vendor_class), PROFILE)
    assert all(0 <= part.offset < len(octets) for part in seen.parts)
    if not seen.is_usable:
        assert seen.warnings
        assert seen.causes
    else:
        assert seen.taken


@given(st.binary(min_size=1, max_size=64), st.sampled_from(["", " ", ":", "-", "."]))
def test_octets_in_hexadecimal_are_read_back(octets: bytes, mark: str) -> None:
    assert read_hex(octets.hex(mark) if mark else octets.hex()) == octets
    assert read_hex(",".join(f"0x{octet:02x}" for octet in octets)) == octets
    assert read_hex("0x" + octets.hex().upper()) == octets
