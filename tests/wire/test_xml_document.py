import pytest

from phonesim.errors import DecodeError
from phonesim.wire.xml_document import (
    DOCUMENT_LIMIT,
    attribute_xml,
    local_name,
    markup_of,
    octets_of,
    octets_xml,
    only_child,
    optional_child,
    parse_document,
    seconds_of,
    seconds_xml,
    text_of,
    text_xml,
)

BILLION_LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<lolz>&b;</lolz>"""
EXTERNAL_ENTITY = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>'


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not well-formed XML: Document is empty"),
        (b"plain text", "not well-formed XML: Start tag expected"),
        (b"<a><b></a>", "not well-formed XML: Opening and ending tag mismatch"),
        (b"<a/><b/>", "not well-formed XML: Extra content at the end of the document"),
        (b"<a>&other;</a>", "not well-formed XML: Entity 'other' not defined"),
        (b"<a x='1' x='2'/>", "not well-formed XML: Attribute x redefined"),
        (b"<p:a/>", "not well-formed XML: Namespace prefix p on a is not defined"),
        (b"<a>\xff</a>", "not well-formed XML: Invalid bytes in character encoding"),
        (b"<a>\0</a>", "not well-formed XML"),
        ("<a/>".encode("utf-16"), "not well-formed XML"),
        ("<?xml version='1.0' encoding='utf-16'?><!DOCTYPE a><a/>".encode("utf-16"), "not well-"),
        (BILLION_LAUGHS, "the XML holds a DTD, a comment or a CDATA section"),
        (EXTERNAL_ENTITY, "the XML holds a DTD, a comment or a CDATA section"),
        (b"<a>x<!-- y --></a>", "the XML holds a DTD, a comment or a CDATA section"),
        (b"<a><![CDATA[x]]></a>", "the XML holds a DTD, a comment or a CDATA section"),
        (b"<a>x<?y?>z</a>", "the XML holds a processing instruction"),
        (b"<a>" * 1000 + b"</a>" * 1000, "not well-formed XML: Excessive depth in document"),
        (b"<" + b"a" * 200000 + b"/>", "not well-formed XML: Name too long"),
        (b"<a>" + b" " * DOCUMENT_LIMIT + b"</a>", "the XML has 262151 octets; 262144 is the lim"),
    ],
)
def test_what_is_no_plain_document_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_document(data)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"<a>\xc3\xa4</a>",
        b"\xef\xbb\xbf<a>\xc3\xa4</a>",
        b'<?xml version="1.0" encoding="utf-8"?>\r\n<a>&#228;</a>\r\n',
        b"<?xml version='1.0'?><a>&#xE4;</a>",
    ],
)
def test_utf_8_is_read_with_and_without_a_mark_and_a_declaration(data: bytes) -> None:
    assert text_of(parse_document(data)) == "ä"


def test_a_child_is_found_by_namespace_or_by_local_name() -> None:
    parent = parse_document(b'<a xmlns="u:1" xmlns:p="u:2"><b>1</b><p:b>2</p:b><p:c>3</p:c></a>')
    assert text_of(only_child(parent, "{u:1}b")) == "1"
    assert text_of(only_child(parent, "{*}c")) == "3"
    assert optional_child(parent, "{u:1}c") is None
    assert local_name(only_child(parent, "{u:2}b")) == "b"
    with pytest.raises(DecodeError, match="a holds b 2 times"):
        optional_child(parent, "{*}b")
    with pytest.raises(DecodeError, match="a holds no c"):
        only_child(parent, "{u:1}c")


def test_long_names_do_not_fill_the_log() -> None:
    parent = parse_document(b"<" + b"a" * 40000 + b"/>")
    with pytest.raises(DecodeError) as caught:
        only_child(parent, "b")
    assert len(str(caught.value)) < 200


def test_text_has_no_elements_in_it() -> None:
    assert text_of(parse_document(b"<a/>")) == ""
    assert text_of(parse_document(b"<a> x\r\ny </a>")) == " x\ny "
    with pytest.raises(DecodeError, match="a holds elements where text should be"):
        text_of(parse_document(b"<a>x<b/>y</a>"))


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (b"", b""),
        (b"AQID", b"\1\2\3"),
        (b"\r\n AQ\r\n\tID \n", b"\1\2\3"),
        (b"AQI=", b"\1\2"),
        (b"+/+/", b"\xfb\xff\xbf"),
    ],
)
def test_base64_is_read_across_line_ends(text: bytes, octets: bytes) -> None:
    assert octets_of(parse_document(b"<a>" + text + b"</a>")) == octets


@pytest.mark.parametrize(
    "text",
    ["AQI", "AQI==", "AQID=", "AQ=I", "=", "AQJ=", "A", "AQ-_", "AQID!", "ÄQID", "AQID\u00a0"],
)
def test_what_is_not_canonical_base64_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="a is not base64"):
        octets_of(parse_document(f"<a>{text}</a>".encode()))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-05T07:00:00Z", 1767596400),
        ("\n2026-01-05T07:00:00.999Z ", 1767596400),
        ("1969-12-31T23:59:59Z", -1),
        ("9999-12-31T23:59:59Z", 253402300799),
    ],
)
def test_times_are_unix_seconds(text: str, seconds: int) -> None:
    assert seconds_of(parse_document(f"<a>{text}</a>".encode())) == seconds
    assert seconds_of(parse_document(f"<a>{seconds_xml(seconds)}</a>".encode())) == seconds


def test_times_are_written_with_whole_seconds() -> None:
    assert seconds_xml(1767596400) == "2026-01-05T07:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-05",
        "2026-01-05T07:00:00",
        "2026-01-05T07:00:00+01:00",
        "2026-13-05T07:00:00Z",
        "2026-01-05T24:00:00Z",
        "0000-01-05T07:00:00Z",
        "2026-01-05 07:00:00Z",
        "\uff12026-01-05T07:00:00Z",
    ],
)
def test_what_is_no_utc_time_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="a is no xs:dateTime in UTC"):
        seconds_of(parse_document(f"<a>{text}</a>".encode()))


def test_markup_comes_back_octet_for_octet() -> None:
    markup = b"<s:A  xmlns:s='u:s'\n x = '&#65;' ><s:Ab/>&gt;\xc3\xa4<s:B></s:B >\r\n</s:A >"
    data = b'<e xmlns="u:e">' + markup + b" tail</e>"
    assert markup_of(parse_document(data)[0], data) == markup


@pytest.mark.parametrize(
    ("data", "markup"),
    [
        (
            b'<e xmlns:s="u:s"><s:A>x</s:A> tail</e>',
            b'<s:A xmlns:s="u:s">x</s:A>',
        ),
        (b'<e xmlns="u:e"><A>x</A></e>', b'<A xmlns="u:e">x</A>'),
    ],
)
def test_markup_that_leans_on_outer_namespaces_brings_them_along(
    data: bytes, markup: bytes
) -> None:
    assert markup_of(parse_document(data)[0], data) == markup


@pytest.mark.parametrize(
    "data",
    [
        b'<e xmlns:s="u:s"><s:A/></e>',
        b'<e xmlns:s="u:s"><s:A>1</s:A><f><s:A>2</s:A></f></e>',
        b'<e xmlns:s="u:s"><s:A>1<s:A>2</s:A></s:A></e>',
        b'<e xmlns:s="u:s"><s:A>1</s:A><f xmlns:s="u:t"><s:A>2</s:A></f></e>',
    ],
)
def test_markup_that_cannot_be_told_apart_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="A is empty or occurs more than once"):
        markup_of(parse_document(data)[0], data)


@pytest.mark.parametrize("text", ["", "a<b>&\"'c", "\t\r\n x \r", "]]>", "ä\u2028\U0001f600"])
def test_text_and_attributes_come_back_as_they_were(text: str) -> None:
    data = f'<a b="{attribute_xml(text)}">{text_xml(text)}</a>'.encode()
    element = parse_document(data)
    assert text_of(element) == text
    assert element.get("b") == text


@pytest.mark.parametrize("text", ["\0", "a\x1fb", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold_is_not_written(text: str) -> None:
    for write in (text_xml, attribute_xml):
        with pytest.raises(ValueError, match="XML cannot hold a control character"):
            write(text)


def test_octets_are_written_in_one_line() -> None:
    assert octets_xml(bytes(100)) == "A" * 134 + "=="
