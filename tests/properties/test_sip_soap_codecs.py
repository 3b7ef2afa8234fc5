import contextlib
import copy
import hashlib
import itertools
import string
from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
    KeyProof,
)
from phonesim.wire.digest import digest_credentials, digest_verifies
from phonesim.wire.http import WebAnswer, decode_answer, encode_body
from phonesim.wire.message_signature import CertificateSignature, certificate_signed_info
from phonesim.wire.saml_assertion import Assertion, decode_assertion, encode_assertion
from phonesim.wire.sip import (
    Challenge,
    Contact,
    Credentials,
    KeepAlive,
    NameAddress,
    SipMessage,
    SipRequest,
    SipResponse,
    SipStream,
    decode_sip,
    encode_sip,
    response_to,
)
from phonesim.wire.soap import (
    SoapMessage,
    SoapRequest,
    SoapResponse,
    decode_soap_request,
    decode_soap_response,
    encode_soap,
)
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import ServiceMetadata, ServicePort
from phonesim.wire.web_ticket import (
    CertificateCredential,
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
)

searched = settings(max_examples=1000)

# --- SIP ------------------------------------------------------------------------

TOKENS = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
URIS = st.builds(
    "{}:{}".format,
    st.sampled_from(["sip", "sips", "tel", "urn"]),
    st.text(string.ascii_letters + string.digits + "@:;=?&%[]-._~!$,/#+", min_size=1, max_size=30),
)
RESERVED = {"tag", "epid", "expires", "+sip.instance"}


def unique(names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy:
    """Parameters of which none occurs twice, and none is one that has a field of its own."""
    return st.lists(
        st.tuples(names.filter(lambda name: name.lower() not in RESERVED), values),
        max_size=4,
        unique_by=lambda item: item[0].lower(),
    ).map(tuple)


PARAMETERS = unique(TOKENS, TEXTS)
ADDRESSES = st.builds(
    NameAddress,
    uri=URIS,
    tag=st.none() | TOKENS,
    epid=st.none() | TOKENS,
    display_name=TEXTS,
    parameters=PARAMETERS,
)
CONTACTS = st.lists(
    st.builds(
        Contact,
        uri=URIS,
        expires=st.none() | st.integers(0, 2**32 - 1),
        instance=st.none() | st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper()),
        parameters=PARAMETERS,
    ),
    max_size=3,
).map(tuple) | st.just((Contact(uri="*"),))
VIAS = st.lists(
    st.builds("SIP/2.0/{} {};branch={};x={}".format, TOKENS, TOKENS, TOKENS, st.just('"a, b"')),
    min_size=1,
    max_size=3,
).map(tuple)
CALL_IDS = st.text(string.printable[:94], min_size=1, max_size=20)
TYPED = {
    *("via", "from", "to", "call-id", "cseq", "contact", "expires", "max-forwards"),
    *("content-length", "authorization", "proxy-authorization"),
    *("www-authenticate", "proxy-authenticate"),
}
HEADERS = st.lists(
    st.tuples(
        TOKENS.filter(lambda name: len(name) > 1 and name.lower() not in TYPED),
        TEXTS.map(lambda text: text.strip(" \t")),
    ),
    max_size=5,
).map(tuple)
EXPIRES = st.none() | st.integers(0, 2**32 - 1)
REQUESTS = st.builds(
    SipRequest,
    method=TOKENS,
    uri=URIS,
    vias=VIAS,
    sender=ADDRESSES,
    recipient=ADDRESSES,
    call_id=CALL_IDS,
    cseq=st.integers(0, 2**31 - 1),
    max_forwards=st.integers(0, 255),
    contacts=CONTACTS,
    expires=EXPIRES,
    credentials=st.lists(
        st.builds(Credentials, scheme=TOKENS, parameters=PARAMETERS, is_proxy=st.booleans()),
        max_size=3,
    ).map(tuple),
    headers=HEADERS,
    body=st.binary(max_size=40),
)
RESPONSES = st.builds(
    SipResponse,
    status=st.integers(100, 699),
    reason=TEXTS,
    vias=VIAS,
    sender=ADDRESSES,
    recipient=ADDRESSES,
    call_id=CALL_IDS,
    cseq=st.integers(0, 2**31 - 1),
    cseq_method=TOKENS,
    contacts=CONTACTS,
    expires=EXPIRES,
    challenges=st.lists(
        st.builds(Challenge, scheme=TOKENS, parameters=PARAMETERS, is_proxy=st.booleans()),
        max_size=3,
    ).map(tuple),
    headers=HEADERS,
    body=st.binary(max_size=40),
)
MESSAGES = REQUESTS | RESPONSES


@given(MESSAGES)
def test_a_sip_message_comes_back_as_it_was(message: SipMessage) -> None:
    assert decode_sip(encode_sip(message)) == message


@given(REQUESTS, st.integers(100, 699), TEXTS, st.none() | TOKENS)
def test_an_answer_to_any_request_can_be_written_and_read(
    request: SipRequest, status: int, reason: str, to_tag: str | None
) -> None:
    response = response_to(request, status, reason, to_tag=to_tag)
    assert decode_sip(encode_sip(response)) == response


SIP_PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b" ",
            b":",
            b";",
            b",",
            b"<",
            b">",
            b'"',
            b"\\",
            b"=",
            b"\0",
        ),
        *(b"SIP/2.0", b"REGISTER sip:a.b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"From: ", b"t: "),
        *(b"Via: SIP/2.0/TLS a", b"CSeq: 1 REGISTER", b"Call-ID: x", b"Contact: ", b"<sip:a@b>"),
        *(b"Content-Length: 3", b"l: 0", b"Expires: 1", b"Authorization: Digest a=b", b"tag=1"),
    ]
)


@given(st.lists(SIP_PIECES | st.binary(max_size=4), max_size=40).map(b"".join))
def test_any_octets_are_a_sip_message_or_a_decode_error(data: bytes) -> None:
    try:
        message = decode_sip(data)
    except DecodeError:
        return
    assert decode_sip(encode_sip(message)) == message


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few of its parts left out, doubled or replaced."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 60)))
        part = draw(st.sampled_from([b"", data[start:end] * 2]) | st.binary(max_size=4))
        data = data[:start] + part + data[end:]
    return data


@given(MESSAGES.map(encode_sip).flatmap(mutations))
def test_a_damaged_sip_message_is_read_or_a_decode_error(data: bytes) -> None:
    try:
        message = decode_sip(data)
    except DecodeError:
        return
    assert decode_sip(encode_sip(message)) == message


@st.composite
def chunks_of(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` cut somewhere, line ends being the likeliest places."""
    line_ends = [place for place, octet in enumerate(data) if octet in b"\r\n"]
    places = st.integers(0, len(data))
    if line_ends:
        places |= st.sampled_from(line_ends)
    edges = [0, *sorted(draw(st.lists(places, max_size=12))), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def everything(chunks: list[bytes]) -> list[SipMessage | KeepAlive | str]:
    """What a driver gets from a stream: items, and the text of each fault."""
    stream = SipStream()
    seen: list[SipMessage | KeepAlive | str] = []
    for chunk in chunks:
        data = chunk
        while True:
            try:
                items = stream.feed(data)
            except DecodeError as error:
                seen.append(str(error))
                if stream.framing_lost:
                    return seen
            else:
                if not items:
                    break
                seen += items
            data = b""
    return seen


@given(st.lists(MESSAGES, max_size=3), st.sampled_from([b"", b"\r\n", b"\r\n\r\n"]), st.data())
def test_a_stream_gives_the_same_messages_for_any_chunking(
    messages: list[SipMessage], between: bytes, data: st.DataObject
) -> None:
    octets = b"".join(between + encode_sip(message) for message in messages)
    seen = everything(data.draw(chunks_of(octets)))
    assert [item for item in seen if not isinstance(item, KeepAlive)] == messages
    assert seen == everything([octets])


@given(
    st.lists(SIP_PIECES | MESSAGES.map(encode_sip), max_size=12)
    .map(b"".join)
    .flatmap(lambda octets: st.just(octets) | mutations(octets)),
    st.data(),
)
def test_a_damaged_stream_gives_the_same_for_any_chunking(
    octets: bytes, data: st.DataObject
) -> None:
    assert everything(data.draw(chunks_of(octets))) == everything([octets])


@given(
    unique(st.sampled_from(["realm", "nonce", "qop", "algorithm", "opaque", "stale"]), TEXTS),
    TEXTS,
    TEXTS,
    TOKENS,
    URIS,
)
def test_digest_answers_any_challenge_with_credentials_that_survive_the_wire(
    parameters: tuple[tuple[str, str], ...], username: str, password: str, method: str, uri: str
) -> None:
    challenge = Challenge(scheme="Digest", parameters=parameters)
    credentials = digest_credentials(
        challenge, method=method, uri=uri, username=username, password=password, cnonce="c"
    )
    if credentials is None:
        return
    request = SipRequest(
        method=method,
        uri=uri,
        vias=("SIP/2.0/TLS a",),
        sender=NameAddress(uri=uri),
        recipient=NameAddress(uri=uri),
        call_id="1",
        cseq=1,
        credentials=(credentials,),
    )
    received = decode_sip(encode_sip(request))
    assert isinstance(received, SipRequest)
    assert digest_verifies(received.credentials[0], method=method, password=password)
    assert not digest_verifies(received.credentials[0], method=method, password=f"{password}x")


@given(st.builds(Credentials, scheme=st.sampled_from(["Digest", "digest"]), parameters=PARAMETERS))
def test_digest_takes_any_credentials(credentials: Credentials) -> None:
    assert not digest_verifies(credentials, method="REGISTER", password="")


# --- SOAP -----------------------------------------------------------------------

XML_TEXTS = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cs",),
        exclude_characters=[*map(chr, set(range(32)) - {9, 10, 13}), "\ufffe", "\uffff"],
    ),
    max_size=20,
)
NAMES = XML_TEXTS.filter(bool)
PINS = st.text("0123456789", min_size=4, max_size=24)
OCTETS = st.binary(max_size=200)
TIMES = st.integers(-(2**33), 2**37)
UUIDS = st.uuids().map(str)


@st.composite
def certificate_credentials(draw: st.DrawFn) -> CertificateCredential:
    created, expires = draw(TIMES), draw(TIMES)
    return CertificateCredential(
        created=created,
        expires=expires,
        signature=CertificateSignature(
            certificate=draw(OCTETS),
            signed_info=certificate_signed_info(created, expires),
            value=draw(OCTETS),
        ),
    )


ISSUES = st.builds(
    RequestSecurityToken,
    context=XML_TEXTS,
    applies_to=XML_TEXTS,
    entropy=st.binary(min_size=32, max_size=32),
    credential=st.builds(PinCredential, number=XML_TEXTS, pin=PINS) | certificate_credentials(),
    sip_uri=st.none() | XML_TEXTS,
)
REQUESTS_UNSIGNED = st.just(GetRootCertChains()) | ISSUES


def sign(data: bytes) -> bytes:
    return hashlib.sha1(b"key" + data).digest()


@st.composite
def tickets(draw: st.DrawFn) -> RequestSecurityTokenResponse:
    assertion_id = draw(NAMES.filter(lambda name: name != "timestamp"))  # the other Id
    created, expires = draw(TIMES), draw(TIMES)
    sip_uri = f"sip:{draw(XML_TEXTS)}"
    assertion = Assertion(
        assertion_id=assertion_id,
        issuer=draw(XML_TEXTS.filter(bool)),
        name=sip_uri,
        audience=draw(XML_TEXTS),
        not_before=created,
        not_on_or_after=expires,
    )
    return RequestSecurityTokenResponse(
        context=draw(XML_TEXTS),
        assertion_id=assertion_id,
        assertion=encode_assertion(assertion, sign, b"certificate"),
        created=created,
        expires=expires,
        entropy=draw(st.binary(min_size=32, max_size=32)),
        sip_uri=sip_uri,
    )


@st.composite
def signed_requests(draw: st.DrawFn) -> GetAndPublishCert:
    ticket = draw(tickets())
    return GetAndPublishCert(
        to=draw(XML_TEXTS),
        message_id=draw(UUIDS),
        device_id=draw(UUIDS),
        entity=draw(NAMES),
        csr=draw(OCTETS),
        request_id=draw(UUIDS),
        assertion_id=ticket.assertion_id,
        assertion=ticket.assertion,
        created=ticket.created,
        expires=ticket.expires,
        proof=KeyProof(draw(st.binary(min_size=1, max_size=40))),
    )


ANSWERS = (
    st.builds(GetRootCertChainsResponse, chain=OCTETS)
    | tickets()
    | st.builds(GetAndPublishCertResponse, certificate=OCTETS, device_id=UUIDS, entity=XML_TEXTS)
    | st.builds(
        SoapFault,
        code=st.sampled_from(["Server", "FailedAuthentication", "InvalidRequest"]),
        reason=XML_TEXTS,
        error_id=st.integers(1, 99999),
        error_reason=XML_TEXTS,
        pin_failure=st.none() | XML_TEXTS,
    )
)


@given(REQUESTS_UNSIGNED)
def test_a_soap_request_comes_back_as_it_was(message: SoapRequest) -> None:
    assert decode_soap_request(encode_soap(message)) == message


@given(ANSWERS)
def test_a_soap_answer_comes_back_as_it_was(message: SoapResponse) -> None:
    assert decode_soap_response(encode_soap(message)) == message


@st.composite
def metadata(draw: st.DrawFn) -> ServiceMetadata:
    issued = st.tuples(XML_TEXTS.map(str.strip), st.booleans()) | st.just((None, False))
    ports = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        issuer, needs_proof = draw(issued)
        location = draw(XML_TEXTS.filter(bool))
        ports.append(
            ServicePort(name=name, location=location, issuer=issuer, needs_proof=needs_proof)
        )
    service = draw(st.sampled_from(["CertProvisioningService", "WebTicketService"]))
    return ServiceMetadata(service=service, ports=tuple(ports))


@given(ANSWERS | metadata())
def test_a_body_comes_back_as_it_was(message: WebAnswer) -> None:
    assert decode_answer(encode_body(message)) == message


@given(tickets())
def test_an_assertion_comes_back_as_it_was_signed(ticket: RequestSecurityTokenResponse) -> None:
    signed = decode_assertion(ticket.assertion)
    assert sign(signed.signed_info) == signed.signature
    said = signed.assertion
    assert (said.assertion_id, said.name) == (ticket.assertion_id, ticket.sip_uri)
    assert (said.not_before, said.not_on_or_after) == (ticket.created, ticket.expires)
    assert encode_assertion(said, sign, b"certificate") == ticket.assertion


@given(signed_requests())
def test_a_signed_request_comes_back_with_its_proof(message: GetAndPublishCert) -> None:
    received = decode_soap_request(encode_soap(message))
    assert isinstance(received, GetAndPublishCert)
    assert isinstance(message.proof, KeyProof)
    assert received.proof.verify(message.proof.key)
    assert not received.proof.verify(message.proof.key + b"x")
    assert msgspec.structs.replace(received, proof=message.proof) == message


ASSERTION = Assertion(
    assertion_id="ticket",
    issuer="i",
    name="sip:alice@contoso.com",
    audience="a",
    not_before=1000,
    not_on_or_after=2000,
)
SAMPLE = GetAndPublishCert(
    to="https://web.contoso.com/",
    message_id="1",
    device_id="2",
    entity="alice@contoso.com",
    csr=b"\x30\x00",
    request_id="3",
    assertion_id="ticket",
    assertion=encode_assertion(ASSERTION, sign, b"certificate"),
    created=1767596400,
    expires=1767625200,
    proof=KeyProof(bytes(32)),
)
METADATA = ServiceMetadata(
    service="CertProvisioningService",
    ports=(
        ServicePort(name="P", location="https://a/", issuer="https://b/", needs_proof=True),
        ServicePort(name="Q", location="http://a/"),
    ),
)
SOAP_SAMPLES: list[SoapMessage] = [
    GetRootCertChains(),
    GetRootCertChainsResponse(chain=b"\x30\x00"),
    RequestSecurityToken(
        context="c",
        applies_to="a",
        entropy=bytes(32),
        credential=PinCredential(number="100", pin="13579"),
    ),
    RequestSecurityTokenResponse(
        context="c",
        assertion_id="ticket",
        assertion=SAMPLE.assertion,
        created=1,
        expires=2,
        entropy=bytes(32),
        sip_uri="sip:alice@contoso.com",
    ),
    SAMPLE,
    GetAndPublishCertResponse(certificate=b"\x30\x00", device_id="d", entity="e"),
    SoapFault(code="Server", reason="r", error_id=1, error_reason="x", pin_failure="PinExpired"),
]


@given(
    st.sampled_from([decode_soap_request, decode_soap_response, decode_answer]),
    st.binary(max_size=100)
    | st.sampled_from([encode_body(message) for message in [*SOAP_SAMPLES, METADATA]]).flatmap(
        mutations
    ),
)
def test_any_octets_are_a_message_or_a_decode_error(
    decode: Callable[[bytes], object], data: bytes
) -> None:
    with contextlib.suppress(DecodeError):
        decode(data)


def is_as_signed(data: bytes) -> bool:
    """Whether a request is refused, or its times are those that were signed."""
    try:
        message = decode_soap_request(data)
    except DecodeError:
        return True
    if not isinstance(message, GetAndPublishCert) or not message.proof.verify(bytes(32)):
        return True
    return (message.created, message.expires) == (SAMPLE.created, SAMPLE.expires)


def is_as_issued(data: bytes) -> bool:
    """Whether an assertion is refused, or says what was signed."""
    try:
        signed = decode_assertion(data)
    except DecodeError:
        return True
    return sign(signed.signed_info) != signed.signature or signed.assertion == ASSERTION


SIGNED = encode_soap(SAMPLE)
TIMES_BEGIN, TIMES_END = SIGNED.index(b"<wsu:Created>"), SIGNED.index(b"</wsu:Timestamp>")


@st.composite
def retimed(draw: st.DrawFn) -> bytes:
    """The signed request with octets of its times replaced, left out or added."""
    start = draw(st.integers(TIMES_BEGIN, TIMES_END))
    end = draw(st.integers(start, min(start + 3, TIMES_END)))
    digits = st.text("0123456789", min_size=end - start, max_size=end - start)
    part = draw(digits | st.text("0123456789Z.- &#;", max_size=4)).encode()
    return SIGNED[:start] + part + SIGNED[end:]


@searched
@given(mutations(SIGNED) | retimed())
def test_no_damage_makes_a_signature_vouch_for_other_times(data: bytes) -> None:
    assert is_as_signed(data)


@st.composite
def rearranged(draw: st.DrawFn, document: bytes) -> bytes:
    """The signed document with elements left out, copied elsewhere, or changed.

    Those that the signature is about are the likeliest.
    """
    root = etree.fromstring(document)
    for _ in range(draw(st.integers(1, 4))):
        elements = list(root.iter())
        near = [each for each in elements if etree.QName(each).localname in NEAR_THE_SIGNATURE]
        some = st.sampled_from(elements)
        if near:
            some |= st.sampled_from(near)
        element, target = draw(some), draw(some)
        match draw(st.sampled_from(["remove", "copy", "move", "text", "id", "rename"])):
            case "copy":
                target.insert(draw(st.integers(0, len(target))), copy.deepcopy(element))
            case "text" if not len(element):
                element.text = draw(st.sampled_from(["", "2027-01-01T00:00:00Z", "ticket"]))
            case "id":
                name = draw(st.sampled_from([*element.attrib, "Id", "URI"]))
                ids = ["", "timestamp", "#timestamp", "ticket", "#ticket", "#x"]
                element.set(name, draw(st.sampled_from(ids)))
            case "rename":
                element.tag = target.tag
            case "remove" if element is not root:
                element.getparent().remove(element)
            case "move" if element is not target and element not in target.iterancestors():
                target.insert(draw(st.integers(0, len(target))), element)
    return etree.tostring(root)


NEAR_THE_SIGNATURE = {
    *("Security", "Timestamp", "Created", "Expires", "Signature", "Reference", "Transforms"),
    *("Assertion", "Conditions", "NameIdentifier", "Audience"),
}


@searched
@given(rearranged(SIGNED))
def test_no_rearrangement_makes_a_signature_vouch_for_other_times(data: bytes) -> None:
    assert is_as_signed(data)


@searched
@given(mutations(SAMPLE.assertion) | rearranged(SAMPLE.assertion))
def test_no_damage_makes_an_assertion_say_something_else(data: bytes) -> None:
    assert is_as_issued(data)


CREDENTIAL = CertificateCredential(
    created=1767596400,
    expires=1767596700,
    signature=CertificateSignature(
        certificate=b"mine",
        signed_info=certificate_signed_info(1767596400, 1767596700),
        value=sign(certificate_signed_info(1767596400, 1767596700)),
    ),
)
SIGNED_ISSUE = encode_soap(
    RequestSecurityToken(
        context="c", applies_to="a", entropy=bytes(32), credential=CREDENTIAL, sip_uri="sip:a@b"
    )
)


@searched
@given(mutations(SIGNED_ISSUE) | rearranged(SIGNED_ISSUE))
def test_no_damage_makes_a_certificate_vouch_for_other_times(data: bytes) -> None:
    try:
        message = decode_soap_request(data)
    except DecodeError:
        return
    if not isinstance(message, RequestSecurityToken):
        return
    shown = message.credential
    if isinstance(shown, CertificateCredential) and shown.signature.value == sign(
        shown.signature.signed_info
    ):
        assert (shown.created, shown.expires) == (CREDENTIAL.created, CREDENTIAL.expires)
