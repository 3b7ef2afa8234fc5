from __future__ import annotations

import json

import pytest

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.kea import read_kea, write_kea
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values


def test_it_is_json_with_a_class_for_each_kind_of_request(values: SignInValues) -> None:
    members = json.loads(write_kea(values))["Dhcp4"]
    assert [each["test"] for each in members["client-classes"]] == [
        "option[60].text == 'MS-UC-Client'",
        "option[60].text == 'CPE-OCPHONE'",
    ]
    without = json.loads(write_kea(read_sign_in_values(["sip.contoso.com"])))["Dhcp4"]
    assert len(without["client-classes"]) == 1


def test_comments_and_a_whole_configuration_are_no_hindrance(values: SignInValues) -> None:
    text = (
        "// a site\n{ # its server\n"
        + '"Dhcp4": {"valid-lifetime": 4000, /* "data":\n"no" */ "subnet4": [], '
        + write_kea(values).strip()[len('{\n  "Dhcp4": {') : -1]
        + "}"
    )
    found = read_kea(text)
    assert {(each.code, each.vendor_class, each.octets) for each in found} == {
        (43, "MS-UC-Client", values.option_43),
        (43, "CPE-OCPHONE", values.vlan_option_43),
        (120, None, values.option_120),
    }
    assert [text.splitlines()[each.line - 1].strip()[:7] for each in found] == ['"data":'] * 3


@pytest.mark.parametrize(
    ("entry", "code", "octets"),
    [
        ('{"code": 43, "data": "0A03313030", "csv-format": false}', 43, b"\x0a\x03100"),
        ('{"code": 43, "csv-format": false, "data": "\'a\'"}', 43, b"a"),
        ('{"name": "vendor-encapsulated-options", "data": "0x0a 03 313030"},', 43, b"\x0a\x03100"),
        ('{"code": 120, "data": "sip.contoso.com"}', 120, b"sip.contoso.com"),
        ('"option-data": [{"code": 120, "data": "0001"}]', 120, b"\0\1"),
        ('[{"code": 120, "data": "0001"}, {"code":', 120, b"\0\1"),
    ],
)
def test_pieces_of_a_configuration(entry: str, code: int, octets: bytes) -> None:
    (option,) = read_kea(entry)
    assert (option.code, option.octets, option.vendor_class) == (code, octets, None)


def test_sub_options_with_definitions_are_joined() -> None:
    space = "vendor-encapsulated-options-space"
    definitions = [
        {"name": name, "code": code, "space": space, "type": kind}
        for name, code, kind in (("id", 1, "string"), ("port", 4, "uint16"))
    ]
    data = [
        {"name": "port", "space": space, "data": "443"},
        {"name": "id", "space": space, "data": "MS-UC-Client"},
    ]
    (option,) = read_kea(json.dumps({"option-def": definitions, "option-data": data}))
    assert option.octets == b"\x01\x0cMS-UC-Client\x04\x02\x01\xbb"
    assert option.notes == ("option 4 is defined as uint16, not as string or binary",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"code": 43, "csv-format": false, "data": "0"}', "line 1: data of option 43: 1 hex"),
        (
            '{"option-def": [{"name": "x", "code": 120, "type": "uint8"}],\n'
            '"option-data": [{"name": "x", "data": "300"}]}',
            "line 2: '300' is no uint8",
        ),
    ],
)
def test_values_that_are_none_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_kea(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", '{"data": 3}', '{"data": "x"}', "[" * 5000, '"data"{{'])
def test_other_text_holds_nothing(text: str) -> None:
    assert read_kea(text) == []
