"""SOAP 1.1 envelopes, and the fault that the web services answer with.

Messages are written as text, so that a SAML assertion goes back octet for octet as it
came; they are read with lxml. A reader of requests insists on namespaces; a reader of
answers goes by local names, for the documents leave some namespaces of the answers open.

Specifications: SOAP 1.1, [MS-OCAUTHWS] (OCSDiagnosticsFault), sign-in reference section 9.
What no public text states, where a fault carries the PIN failure, is written by one
function, marked [inferred].
"""

from __future__ import annotations

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.xml_document import label, only_child, optional_child, text_of, text_xml


class SoapFault(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fault with its OCSDiagnosticsFault; `code` has no prefix.

    `error_id` and `error_reason` are those of Ms-Diagnostics-Fault, 0 and ""
    when the fault carries none. `pin_failure` is one of the documented
    PinFailureReason values, carried in NameValuePairs [inferred].
    """

    code: str
    reason: str
    error_id: int = 0
    error_reason: str = ""
    pin_failure: str | None = None


def envelope_xml(head: str, body: str) -> bytes:
    """An envelope around what its Header (none if empty) and its Body hold."""
    if head:
        head = f"<soap:Header>{head}</soap:Header>"
    return (
        f'<soap:Envelope xmlns:soap="{ns.SOAP}">{head}<soap:Body>{body}</soap:Body></soap:Envelope>'
    ).encode()


def open_envelope(envelope: etree._Element) -> etree._Element:
    """The one element in the envelope's Body; DecodeError if it is no SOAP 1.1 envelope."""
    if envelope.tag != f"{{{ns.SOAP}}}Envelope":
        raise DecodeError(f"{label(envelope)} is no SOAP 1.1 Envelope")
    body = only_child(envelope, f"{{{ns.SOAP}}}Body")
    if len(body) != 1:
        raise DecodeError(f"the SOAP Body holds {len(body)} elements instead of one")
    return body[0]


def security_header(envelope: etree._Element) -> tuple[etree._Element, etree._Element]:
    """The Header, and the one Security header in it."""
    header = only_child(envelope, f"{{{ns.SOAP}}}Header")
    return header, only_child(header, f"{{{ns.WSSE}}}Security")


def fault_xml(message: SoapFault) -> str:
    """A Fault with its OCSDiagnosticsFault."""
    namespace = ns.WSSE
    if message.code in _SOAP_FAULT_CODES:
        namespace = ns.SOAP
    elif message.code in _TRUST_FAULT_CODES:
        namespace = ns.WST
    diagnostics = ""
    if message.error_id:
        diagnostics = (
            f"<Ms-Diagnostics-Fault><ErrorId>{message.error_id}</ErrorId>"
            f"<Reason>{text_xml(message.error_reason)}</Reason></Ms-Diagnostics-Fault>"
        )
    if message.pin_failure is not None:
        diagnostics += _pin_failure_xml(message.pin_failure)
    detail = ""
    if diagnostics:
        detail = f'<OCSDiagnosticsFault xmlns="{ns.AF}">{diagnostics}</OCSDiagnosticsFault>'
        detail = f"<detail>{detail}</detail>"
    return (
        f'<soap:Fault><faultcode xmlns:a="{namespace}">a:{text_xml(message.code)}</faultcode>'
        f'<faultstring xml:lang="en-US">{text_xml(message.reason)}</faultstring>'
        f"{detail}</soap:Fault>"
    )


def read_fault(content: etree._Element, data: bytes) -> SoapFault:
    """Read a Fault; one of another service has no diagnostics."""
    error_id, error_reason, pin_failure = 0, "", None
    detail = optional_child(content, "{*}detail")
    diagnostics = (
        None if detail is None else optional_child(detail, f"{{{ns.AF}}}OCSDiagnosticsFault")
    )
    if diagnostics is not None:
        fault = optional_child(diagnostics, f"{{{ns.AF}}}Ms-Diagnostics-Fault")
        if fault is not None:
            number = text_of(only_child(fault, f"{{{ns.AF}}}ErrorId")).strip()
            if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number)):
                raise DecodeError("ErrorId is no positive number")
            error_id = int(number)
            reason = optional_child(fault, f"{{{ns.AF}}}Reason")
            error_reason = "" if reason is None else text_of(reason)
        pin_failure = _read_pin_failure(diagnostics)
    return SoapFault(
        code=text_of(only_child(content, "{*}faultcode")).strip().rpartition(":")[2],
        reason=text_of(only_child(content, "{*}faultstring")),
        error_id=error_id,
        error_reason=error_reason,
        pin_failure=pin_failure,
    )


def expect_text(element: etree._Element, value: str) -> None:
    """Raise DecodeError unless the element's text is `value`."""
    if text_of(element).strip() != value:
        raise DecodeError(f"{label(element)} is not {value}")


def attribute_of(element: etree._Element, name: str) -> str:
    """The attribute's value; DecodeError if it is missing or empty."""
    value = element.get(name)
    if not value:
        raise DecodeError(f"{label(element)} has no {name}")
    return value


_SOAP_FAULT_CODES = frozenset({"VersionMismatch", "MustUnderstand", "Client", "Server"})
_TRUST_FAULT_CODES = frozenset({"InvalidRequest", "RequestFailed"})


def _pin_failure_xml(pin_failure: str) -> str:
    """[inferred] PinFailureReason as one of the NameValuePairs; `_read_pin_failure` reads it."""
    return (
        f'<NameValuePairs xmlns:a="{ns.ARRAYS}"><a:KeyValueOfstringstring>'
        f"<a:Key>PinFailureReason</a:Key><a:Value>{text_xml(pin_failure)}</a:Value>"
        "</a:KeyValueOfstringstring></NameValuePairs>"
    )


def _read_pin_failure(diagnostics: etree._Element) -> str | None:
    """[inferred] The value whose key is PinFailureReason."""
    pairs = optional_child(diagnostics, f"{{{ns.AF}}}NameValuePairs")
    for pair in () if pairs is None else pairs:
        if text_of(only_child(pair, "{*}Key")) == "PinFailureReason":
            return text_of(only_child(pair, "{*}Value"))
    return None
