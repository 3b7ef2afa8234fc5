"""XML from peers, read with suspicion, and XML text for peers.

A document holds elements, attributes and text, nothing else: whatever begins
with "<!" (DTD, comment, CDATA section) or "<?" behind the XML declaration is
refused before the parser sees it. So there are no entities to expand, an
element's text is in one piece, and its markup can be found again in the octets.

Specifications: XML 1.0, Namespaces in XML 1.0, SOAP 1.1 section 3 (no DTD, no
processing instructions), XML Schema part 2 (base64Binary, dateTime).
"""

from __future__ import annotations

import binascii
import datetime
import re

from lxml import etree

from phonesim.errors import DecodeError

DOCUMENT_LIMIT = 256 * 1024
_SHOWN_LIMIT = 100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False
)
_EPOCH = datetime.datetime(1970, 1, 1)
_SECOND = datetime.timedelta(seconds=1)
_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?Z"
)
_UNWRITABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_ATTRIBUTE_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
)


def parse_document(data: bytes) -> etree._Element:
    """The document element of UTF-8 XML; DecodeError if it is not well-formed or too large."""
    if len(data) > DOCUMENT_LIMIT:
        raise DecodeError(f"the XML has {len(data)} octets; {DOCUMENT_LIMIT} is the limit")
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if b"<!" in data:
        raise DecodeError("the XML holds a DTD, a comment or a CDATA section")
    if data.find(b"<?", 2) >= 0:
        raise DecodeError("the XML holds a processing instruction")
    try:
        return etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError as error:
        text = " ".join(error.msg.split())[:_SHOWN_LIMIT] if error.msg else "no element"
        raise DecodeError(f"not well-formed XML: {text}") from None


def local_name(element: etree._Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def label(element: etree._Element) -> str:
    """The element's name for an error, shortened."""
    return local_name(element)[:_SHOWN_LIMIT]


def optional_child(parent: etree._Element, tag: str) -> etree._Element | None:
    """The child `tag` ("{namespace}name"; the namespace * is any); DecodeError if there are two."""
    children = list(parent.iterchildren(tag))
    if len(children) > 1:
        raise DecodeError(f"{label(parent)} holds {_name(tag)} {len(children)} times")
    return children[0] if children else None


def only_child(parent: etree._Element, tag: str) -> etree._Element:
    """The child `tag`; DecodeError unless there is exactly one."""
    child = optional_child(parent, tag)
    if child is None:
        raise DecodeError(f"{label(parent)} holds no {_name(tag)}")
    return child


def text_of(element: etree._Element) -> str:
    """The text, as it stands; DecodeError if there are elements in it."""
    if len(element):
        raise DecodeError(f"{label(element)} holds elements where text should be")
    return element.text or ""


def octets_of(element: etree._Element) -> bytes:
    """The octets of an xs:base64Binary; DecodeError unless it is in the one canonical form."""
    try:
        text = text_of(element).encode("ascii").translate(None, b" \t\r\n")
        octets = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise DecodeError(f"{label(element)} is not base64") from None
    if binascii.b2a_base64(octets, newline=False) != text:
        raise DecodeError(f"{label(element)} is not base64")
    return octets


def seconds_of(element: etree._Element) -> int:
    """Unix seconds of an xs:dateTime in UTC; a fraction is cut off."""
    return seconds_from(text_of(element).strip(" \t\r\n"), label(element))


def seconds_from(text: str, what: str) -> int:
    """Unix seconds of an xs:dateTime in UTC, for an attribute; `what` names it in the error."""
    match = _DATE_TIME.fullmatch(text)
    if match is not None:
        year, month, day, hour, minute, second = map(int, match.groups())
        try:
            moment = datetime.datetime(year, month, day, hour, minute, second)
        except ValueError:
            pass
        else:
            return (moment - _EPOCH) // _SECOND
    raise DecodeError(f"{what} is no xs:dateTime in UTC")


def markup_of(element: etree._Element, data: bytes) -> bytes:
    """The octets of `element` in the document `data` from which it was parsed, verbatim.

    The name as written must occur nowhere else. Markup that leans on namespaces
    declared outside it is written anew, with them.
    """
    name = f"{element.prefix}:{local_name(element)}" if element.prefix else local_name(element)
    tags = list(re.finditer(rb"</?%b(?=[ \t\r\n/>])" % re.escape(name.encode()), data))
    if len(tags) != 2:
        raise DecodeError(f"{label(element)} is empty or occurs more than once")
    markup = data[tags[0].start() : data.index(b">", tags[1].end()) + 1]
    try:
        if parse_document(markup).tag == element.tag:
            return markup
    except DecodeError:
        pass
    return etree.tostring(element, encoding="utf-8", with_tail=False)


def text_xml(value: str) -> str:
    """`value` as an element's text, in canonical form. ValueError if XML cannot hold it."""
    _refuse_unwritable(value)
    return value.translate(_TEXT_ESCAPES)


def attribute_xml(value: str) -> str:
    """`value` as an attribute's value, between double quotes. ValueError as `text_xml`."""
    _refuse_unwritable(value)
    return value.translate(_ATTRIBUTE_ESCAPES)


def octets_xml(octets: bytes) -> str:
    """`octets` as base64 in one line."""
    return binascii.b2a_base64(octets, newline=False).decode()


def seconds_xml(seconds: int) -> str:
    """Unix `seconds` as an xs:dateTime in UTC."""
    return f"{(_EPOCH + seconds * _SECOND).isoformat()}Z"


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _refuse_unwritable(value: str) -> None:
    if _UNWRITABLE.search(value):
        raise ValueError("XML cannot hold a control character")
