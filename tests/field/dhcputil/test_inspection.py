from __future__ import annotations

import pytest

from phonesim.config.device_profile import DeviceProfile
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.inspection import Inspection, inspect
from phonesim.field.dhcputil.sign_in_values import read_sign_in_values
from phonesim.profiles import DEVICE, load, parse_override

VALUES = read_sign_in_values(["fe01.contoso.com", "fe02.contoso.com"], web_server="web.contoso.com")
GOOD_43, GOOD_120 = VALUES.option_43, VALUES.option_120


def look(
    profile: DeviceProfile, code: int, octets: bytes, vendor_class: str | None = None
) -> Inspection:
    option = ConfiguredOption(code=code, octets=octets, vendor_class=vendor_class)
    return inspect(option, profile)


def test_each_sub_option_has_its_offset_and_value(profile: DeviceProfile) -> None:
    seen = look(profile, 43, GOOD_43)
    assert [(part.offset, part.name, part.text) for part in seen.parts] == [
        (0, "1 UC Identifier", "MS-UC-Client"),
        (14, "2 URL Scheme", "https"),
        (21, "3 Web Server FQDN", "web.contoso.com"),
        (38, "4 Port", "443"),
        (43, "5 Relative Path for Cert Prov", "/CertProv/CertProvisioningService.svc"),
    ]
    assert seen.is_usable
    assert (seen.taken, seen.causes, seen.warnings) == (VALUES.url, (), ())


def test_names_of_option_120(profile: DeviceProfile) -> None:
    seen = look(profile, 120, GOOD_120)
    assert [(part.offset, part.name, part.text) for part in seen.parts] == [
        (0, "encoding: names", ""),
        (1, "name", "fe01.contoso.com"),
        (19, "name", "fe02.contoso.com"),
    ]
    assert seen.is_usable
    assert seen.taken == "fe01.contoso.com:5061, then fe02.contoso.com:5061"


@pytest.mark.parametrize(
    ("code", "octets", "vendor_class", "is_usable", "taken"),
    [
        (43, GOOD_43, "MS-UC-Client", True, VALUES.url),
        (43, GOOD_43, "ms-uc-client", False, "nothing"),
        (43, GOOD_43, "Cisco AP", False, "nothing"),
        (43, GOOD_43 + b"\xff", None, True, VALUES.url),
        (43, GOOD_43[:-1], None, False, "nothing"),
        (43, b"\x0a\x03100", None, True, "VLAN 100"),
        (43, GOOD_43 + b"\x0a\x03100", None, True, VALUES.url),
        (43, GOOD_43 + b"\x0a\x03100", "CPE-OCPHONE", True, "VLAN 100"),
        (43, b"\x0a\x03100", "CPE-OCPHONE", True, "VLAN 100"),
        (43, b"\x0a\x03100", "MS-UC-Client", False, "nothing"),
        (43, GOOD_43, "CPE-OCPHONE", True, "nothing"),
        (43, b"\x0a\x03abc", "CPE-OCPhone", False, "nothing"),
        (43, b"", None, False, "nothing"),
        (43, GOOD_43.replace(b"\x05https", b"\x0a6874747073"), None, False, "nothing"),
        (43, GOOD_43.replace(b"\x0fweb.contoso.com", b"\x0a7765622e62"), None, False, "nothing"),
        (120, b"fe01.contoso.com", None, False, "fe01.contoso.com:5061"),
        (120, b"\x01\x0a\0\0\x01", None, False, "nothing"),
        (120, b"\0\x0210\x010\x010\x011\0", None, False, "nothing"),
        (120, b"", None, False, "nothing"),
        (120, b"\0\xff", None, False, "nothing"),
    ],
)
def test_what_a_phone_takes(
    profile: DeviceProfile,
    code: int,
    octets: bytes,
    vendor_class: str | None,
    is_usable: bool,
    taken: str,
) -> None:
    seen = look(profile, code, octets, vendor_class)
    assert (seen.is_usable, seen.taken) == (is_usable, taken)
    if octets and not is_usable:
        assert seen.causes or seen.warnings


@pytest.mark.parametrize(
    ("octets", "vendor_class", "cause"),
    [
        (b"\x0a\x03abc", None, "vlan-option-malformed"),
        (b"\x0a\x03abc", "CPE-OCPHONE", "vlan-option-malformed"),
        (b"\x0a\x03100", "MS-UC-Client", "option-43-other-class"),
        (GOOD_43[:-1], "CPE-OCPHONE", "option-43-cut"),
        (b"\xf1\x04\x0a\0\0\x01", None, "option-43-other-class"),
        (GOOD_43.replace(b"443", b"\x01\xbb "[:3]), None, "option-43-port-not-text"),
        (GOOD_43.hex().encode(), None, "option-43-not-binary"),
        (GOOD_43[:14] + b"\xff" + GOOD_43[14:], None, "option-43-ff"),
    ],
)
def test_the_cause_behind_it(
    profile: DeviceProfile, octets: bytes, vendor_class: str | None, cause: str
) -> None:
    assert [each.name for each in look(profile, 43, octets, vendor_class).causes] == [cause]


def test_an_option_that_needs_pieces_is_doubted(profile: DeviceProfile) -> None:
    long = read_sign_in_values(["a.b"], cert_prov_url="https://a.b/" + "x" * 221).option_43
    assert len(long) == 255
    assert look(profile, 43, long).warnings == ()
    (warning,) = look(profile, 43, long.replace(b"\x03a.b", b"\x04aa.b")).warnings
    assert warning.startswith("256 octets go into one option in pieces of 255")


def test_the_phone_that_judges_is_that_of_the_profile(profile: DeviceProfile) -> None:
    strict = load(
        DEVICE, "polycom-cx600", [parse_override("device.discovery.accepts_raw_names=false")]
    )
    assert look(profile, 120, b"fe01.contoso.com").is_doubtful
    assert not look(strict, 120, b"fe01.contoso.com").is_doubtful
    assert look(strict, 120, b"fe01.contoso.com").taken == "nothing"


@pytest.mark.parametrize(
    ("code", "octets", "warning"),
    [
        (
            120,
            b"fe01.contoso.com",
            'the option is the text "fe01.contoso.com", where 00 and length-prefixed labels'
            " (RFC 3361) are expected: used all the same",
        ),
        (
            43,
            GOOD_43[14:],
            'sub-option 1 is missing: it shall hold "MS-UC-Client"; option not used',
        ),
    ],
)
def test_a_fault_is_said_once(
    profile: DeviceProfile, code: int, octets: bytes, warning: str
) -> None:
    assert look(profile, code, octets).warnings == (warning,)


@pytest.mark.parametrize(
    ("code", "octets", "parts"),
    [
        (43, b"01 0C", [(0, "text", "01 0C")]),
        (43, b"\0\0\x04\x03443", [(0, "padding", ""), (2, "4 Port", "443")]),
        (43, b"\x04\x03443\xff\x01", [(0, "4 Port", "443"), (5, "end", "\\x01")]),
        (43, b"\x04\x0344", [(0, "4 Port, cut short", "44")]),
        (43, b"\x04", [(0, "4 Port, cut short", "")]),
        (43, b"\xf1\x01\x80", [(0, "241 unknown", "\\x80")]),
        (120, b"\x02", [(0, "no encoding", "\\x02")]),
        (
            120,
            b"\x01\x0a\0\0\x01\x0a",
            [(0, "encoding: addresses", ""), (1, "address", "10.0.0.1"), (5, "address", "10")],
        ),
        (
            120,
            b"\0\x01a\0\x01b\xc0\x01",
            [(0, "encoding: names", ""), (1, "name", "a"), (4, "name with a pointer", "b")],
        ),
        (120, b"\0\x60ab", [(0, "encoding: names", ""), (1, "not a label", "")]),
        (120, b"\0\x05ab", [(0, "encoding: names", ""), (1, "name", "ab")]),
    ],
)
def test_parts_of_what_is_not_right(
    profile: DeviceProfile, code: int, octets: bytes, parts: list[tuple[int, str, str]]
) -> None:
    seen = look(profile, code, octets)
    assert [(part.offset, part.name, part.text) for part in seen.parts] == parts
