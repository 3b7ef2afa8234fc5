from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_boots import OPTION_43, OPTION_120

from phonesim.field.rules.option_verdict import CUT_AT, judge_option_43, judge_option_120

GOOD = bytes.fromhex(OPTION_43)
LONG = bytes.fromhex(
    "010c4d532d55432d436c69656e7402056874747073031c6c796e63776562706f6f6c2d656d65612e636f6e74"
    "6f736f2e636f6d040334343305252f4365727450726f762f4365727450726f766973696f6e696e675365727669"
    "63652e737663"
)


def with_part(code: int, value: bytes) -> bytes:
    parts = {
        1: b"MS-UC-Client",
        2: b"https",
        3: b"web1",
        4: b"443",
        5: b"/CertProv/CertProvisioningService.svc",
    }
    parts[code] = value
    return b"".join(bytes((c, len(v))) + v for c, v in parts.items() if v)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (GOOD, None),
        (LONG, None),
        (GOOD + b"\xff", None),
        (GOOD + b"\0\0", None),
        (LONG[:CUT_AT], "option-43-cut"),
        (GOOD[:30], "option-43-cut"),
        (GOOD[:21], "option-43-malformed"),
        (b"", "option-43-other-class"),
        (GOOD[:14] + b"\xff" + GOOD[14:], "option-43-ff"),
        (with_part(3, b"web1\xff"), "option-43-ff"),
        (GOOD + b"\xf1\x04\x0a\xff\0\1", None),
        (with_part(4, b"\x01\xbb"), "option-43-port-not-text"),
        (with_part(4, b"\0\0\x01\xbb"), "option-43-port-not-text"),
        (with_part(1, b"ms-uc-client"), "option-43-identifier"),
        (with_part(1, b""), "option-43-identifier"),
        (with_part(3, b""), "option-43-malformed"),
        (with_part(2, b"gopher"), "option-43-malformed"),
        (with_part(5, b"CertProv"), "option-43-malformed"),
        (GOOD.hex().encode(), "option-43-not-binary"),
        (b"https://webpool.contoso.com", "option-43-not-binary"),
        (with_part(3, b"776562312e636f6d"), "option-43-not-binary"),
        (bytes.fromhex("0a023230"), "option-43-other-class"),
        (bytes.fromhex("f104c0a80001"), "option-43-other-class"),
        (bytes.fromhex("f1040aff0001"), "option-43-other-class"),
        (bytes.fromhex("f1040a010001ff0001"), "option-43-other-class"),
        (bytes.fromhex("0ac00001"), "option-43-other-class"),
        (b"\x01\x0812345678", "option-43-other-class"),
        (b"http://prov.contoso.com/cfg", "option-43-other-class"),
        (b"0a023230", "option-43-other-class"),
        (GOOD.hex(" ").upper().encode()[:100], "option-43-not-binary"),
        (GOOD[:5], "option-43-cut"),
        (GOOD[:14], "option-43-other-class"),
        (
            bytes.fromhex("010c4d532d55432d436c69656e74037f77656231") + b"\4\3443",
            "option-43-malformed",
        ),
    ],
)
def test_octets_of_option_43_have_one_cause(data: bytes, cause: str | None) -> None:
    verdict = judge_option_43(data)
    assert (None if verdict.cause is None else verdict.cause.name) == cause
    assert verdict.cause is None or verdict.note


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (bytes.fromhex(OPTION_120), None),
        (bytes.fromhex(OPTION_120) + b"\0", None),
        (b"fe01.contoso.com", "option-120-raw-text"),
        (b"\0fe01.contoso.com", "option-120-raw-text"),
        (b"192.0.2.21", "option-120-address"),
        (b"\1\xc0\0\2\x15", "option-120-address"),
        (b"\x0a\1\2\3", "option-120-address"),
        (b"\1\2\3\4", "option-120-malformed"),
        (b"\0\x04fe01?contoso", "option-120-malformed"),
        (b"\x04fe01\x07contoso\x03com\0", "option-120-malformed"),
        (b"", "option-120-malformed"),
        (b"\0", "option-120-malformed"),
    ],
)
def test_octets_of_option_120_have_one_cause(data: bytes, cause: str | None) -> None:
    verdict = judge_option_120(data)
    assert (None if verdict.cause is None else verdict.cause.name) == cause
    assert verdict.cause is None or verdict.note


@given(data=st.binary(max_size=255))
def test_any_octets_have_a_verdict(data: bytes) -> None:
    for verdict in (judge_option_43(data), judge_option_120(data)):
        assert verdict.cause is None or verdict.note
