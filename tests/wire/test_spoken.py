"""Messages in words, and what is not said."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.wire.dhcp import DhcpMessage, MessageType, Option, encode_addresses, encode_dhcp
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, SrvData, encode_query
from phonesim.wire.dns import encode_response as encode_dns_response
from phonesim.wire.http import HttpRequest, encode_http_request, encode_response
from phonesim.wire.provisioning import UcOptions, encode_sip_servers, encode_uc_options
from phonesim.wire.sip import (
    Challenge,
    Credentials,
    NameAddress,
    SipRequest,
    encode_sip,
    response_to,
)
from phonesim.wire.sipae import Authorization, Offer, challenge_of, credentials_of
from phonesim.wire.soap import encode_soap
from phonesim.wire.spoken import Spoken, speak_dhcp, speak_dns, speak_http, speak_sip, speak_tls
from phonesim.wire.tls_hello import encode_alert, encode_server_flight
from phonesim.wire.tls_records import CLIENT_HELLO, encode_handshake
from phonesim.wire.web_ticket import (
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
)

NTLM_TOKEN = b"NTLMSSP\0\3\0\0\0"
PIN, ENTROPY = "4711815", b"the entropy of a client, secret!"
REGISTER = SipRequest(
    method="REGISTER",
    uri="sip:contoso.com",
    vias=("SIP/2.0/TLS 10.0.0.1:5061",),
    sender=NameAddress(uri="sip:a@contoso.com", tag="t"),
    recipient=NameAddress(uri="sip:a@contoso.com"),
    call_id="c",
    cseq=1,
    expires=600,
)


def test_a_dhcp_message_is_told_with_its_options() -> None:
    uc = UcOptions(
        uc_identifier="MS-UC-Client", url_scheme="https", web_server_fqdn="web.contoso.com"
    )
    message = DhcpMessage(
        message_type=MessageType.ACK,
        xid=0x1234,
        chaddr=bytes(6),
        yiaddr="10.0.0.7",
        options={
            53: bytes((MessageType.ACK,)),
            Option.SERVER_IDENTIFIER: encode_addresses(("10.0.0.1",)),
            Option.IP_ADDRESS_LEASE_TIME: b"\0\0\x0e\x10",
            Option.DOMAIN_NAME: b"contoso.com",
            Option.PARAMETER_REQUEST_LIST: bytes((43, 120)),
            43: encode_uc_options(uc),
            120: encode_sip_servers(["fe01.contoso.com"]),
            Option.ROUTER: b"odd",
            250: b"\x01",
        },
    )
    spoken = speak_dhcp(encode_dhcp(message))
    assert spoken.title == "DHCP ACK"
    text = "\n".join(spoken.lines)
    for part in (
        "xid 0x00001234",
        "yiaddr 10.0.0.7",
        "option 54 server identifier: 10.0.0.1",
        "option 51 ip address lease time: 3600 s",
        "option 15 domain name: contoso.com",
        "option 55 parameter request list: 43 120",
        "(MS-UC-Client https web.contoso.com)",
        "(fe01.contoso.com)",
        "option 3 router: 6f6464 (",
        "option 250 : 01",
    ):
        assert part in text


def test_dns_is_told_with_its_records() -> None:
    query = DnsQuery(id=1, qname="_sip._tls.contoso.com", qtype="SRV")
    assert speak_dns(encode_query(query)).title == "DNS query SRV _sip._tls.contoso.com"
    record = DnsRecord("_sip._tls.contoso.com", "SRV", 60, SrvData(1, 2, 5061, "fe01.contoso.com"))
    response = DnsResponse(id=1, qname=query.qname, qtype="SRV", answers=(record,))
    spoken = speak_dns(encode_dns_response(response))
    assert spoken.title == "DNS answer SRV _sip._tls.contoso.com: NOERROR"
    assert spoken.lines == ("_sip._tls.contoso.com SRV 1 2 5061 fe01.contoso.com ttl 60",)


def test_a_soap_request_is_told_without_pin_and_entropy() -> None:
    message = RequestSecurityToken(
        context="c",
        applies_to="https://web.contoso.com/x",
        credential=PinCredential(number="+1425", pin=PIN),
        entropy=ENTROPY,
    )
    request = HttpRequest(
        scheme="https", host="web.contoso.com", port=443, path="/Ticket", message=message
    )
    octets = encode_http_request(request)
    assert PIN.encode() in octets
    spoken = speak_http(octets)
    text = "\n".join(spoken.lines)
    assert spoken.title == "HTTP POST /Ticket, RequestSecurityToken"
    assert "+1425" in text
    assert text.count("********") == 2
    assert PIN not in text


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            f"Authorization: NTLM {base64.b64encode(NTLM_TOKEN).decode()}",
            "Authorization: NTLM (AUTHENTICATE_MESSAGE, 12 octets)",
        ),
        ("Authorization: Negotiate YIIabc==", "Authorization: Negotiate ********"),
        ("Authorization: NTLM ~", "Authorization: NTLM ********"),
        ("Authorization: Basic YWxpY2U6eA==", "Authorization: ********"),
        ("WWW-Authenticate: NTLM", "WWW-Authenticate: NTLM"),
        ("WWW-Authenticate: NTLM ~", "WWW-Authenticate: NTLM ********"),
    ],
)
def test_tokens_are_told_by_their_names(header: str, told: str) -> None:
    octets = f"POST / HTTP/1.1\r\n{header}\r\n\r\n".encode()
    assert speak_http(octets).lines == (told,)


def test_a_ticket_is_told_by_its_size_alone() -> None:
    assertion = (
        b'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" '
        b'AssertionID="A1"><saml:Secret>the ticket</saml:Secret></saml:Assertion>'
    )
    message = RequestSecurityTokenResponse(
        context="c",
        assertion=assertion,
        assertion_id="A1",
        sip_uri="sip:a@contoso.com",
        entropy=ENTROPY,
        created=1_700_000_000,
        expires=1_700_003_600,
    )
    headers = [("X-MS-WebTicket", "opaque=abc"), ("Server", "x")]
    spoken = speak_http(encode_response(200, "OK", headers, encode_soap(message)))
    text = "\n".join(spoken.lines)
    assert spoken.title == "HTTP 200 OK, RequestSecurityTokenResponseCollection"
    assert "a ticket of" in text
    assert "the ticket" not in text
    assert "opaque=abc" not in text
    assert "X-MS-WebTicket: ********" in text


def test_long_base64_is_told_by_its_size_and_long_texts_are_kept() -> None:
    body = f"<a><b>{'QUJD' * 60}</b><c>{'a-b ' * 60}</c></a>".encode()
    text = "\n".join(speak_http(encode_response(200, "OK", [], body)).lines)
    assert "QUJDQUJDQUJDQUJDQUJD... (180 octets)" in text
    assert "a-b " * 59 in text


def test_a_body_that_is_no_xml_is_not_shown() -> None:
    spoken = speak_http(encode_response(500, "Oops", [], b"<Password>4711"))
    assert spoken.title == "HTTP 500 Oops"
    assert spoken.lines[-1].startswith("14 octets that are no SOAP message")
    assert "4711" not in "".join(spoken.lines)


def offer(scheme: str = "TLS-DSK", **fields: object) -> Challenge:
    values = {"realm": "r", "targetname": "t", "version": 4, **fields}
    return challenge_of(Offer(scheme=scheme, **values))  # type: ignore[arg-type]


HELLO = encode_handshake((CLIENT_HELLO, b"x"))


@pytest.mark.parametrize(
    ("challenges", "marks"),
    [
        ((offer("NTLM"), offer("Kerberos"), offer()), " (offers NTLM, Kerberos, TLS-DSK)"),
        ((offer(opaque="A", gssapi_data=HELLO),), " (TLS-DSK ClientHello)"),
        ((offer("NTLM", gssapi_data=b"NTLMSSP"),), " (NTLM token)"),
        ((Challenge(scheme="TLS-DSK"),), " (offers TLS-DSK)"),
        ((), ""),
    ],
)
def test_a_challenge_is_told_by_what_it_offers(
    challenges: tuple[Challenge, ...], marks: str
) -> None:
    octets = encode_sip(response_to(REGISTER, 401, "Unauthorized", challenges=challenges))
    assert speak_sip(octets).title == f"SIP 401 Unauthorized to REGISTER{marks}"


def register(**fields: object) -> bytes:
    authorization = Authorization(
        scheme="TLS-DSK",
        realm="r",
        targetname="t",
        version=4,
        **fields,  # type: ignore[arg-type]
    )
    return encode_sip(
        SipRequest(
            **{
                **{name: getattr(REGISTER, name) for name in REGISTER.__struct_fields__},
                "credentials": (credentials_of(authorization),),
            }
        )
    )


def test_a_handshake_is_told_by_its_messages() -> None:
    spoken = speak_sip(register(gssapi_data=HELLO))
    assert spoken.title == "SIP REGISTER (TLS-DSK ClientHello)"
    assert any('gssapi-data="(ClientHello, 10 octets)"' in line for line in spoken.lines)


def test_a_signature_and_what_it_is_of_are_told() -> None:
    octets = register(opaque="A", crand="0a1b2c3d", cnum=1, response="ab" * 20)
    assert speak_sip(octets).title == "SIP REGISTER (signed by TLS-DSK)"
    headers = (("Authentication-Info", "TLS-DSK x"),)
    answer = encode_sip(response_to(REGISTER, 200, "OK", headers=headers))
    assert speak_sip(answer).title == "SIP 200 OK to REGISTER (signed)"


def test_what_a_pin_could_be_guessed_from_is_not_told() -> None:
    parameters = (("username", "a"), ("response", "d41d8cd98f00b204e9800998ecf8427e"))
    credentials = Credentials(scheme="Digest", parameters=parameters)
    request = SipRequest(
        **{
            **{name: getattr(REGISTER, name) for name in REGISTER.__struct_fields__},
            "credentials": (credentials,),
        }
    )
    spoken = speak_sip(encode_sip(request))
    assert spoken.title == "SIP REGISTER (Digest)"
    assert "d41d8cd9" not in "".join(spoken.lines)
    assert any('response="********"' in line for line in spoken.lines)


def test_keep_alives_are_told_as_such() -> None:
    assert speak_sip(b"\r\n\r\n").title == "SIP keep-alive"


@given(st.binary(max_size=300), st.text(max_size=100))
def test_whatever_comes_is_told_somehow(octets: bytes, text: str) -> None:
    for speak in (speak_dhcp, speak_dns, speak_http, speak_sip):
        assert speak(octets).title
        assert speak(text.encode()).title


@pytest.mark.parametrize(
    ("octets", "title"),
    [
        (encode_alert(48), "TLS Alert (unknown CA)"),
        (
            encode_server_flight("1.0", bytes(32), []),
            "TLS ServerHello, Certificate, ServerHelloDone",
        ),
        (b"no TLS", "TLS"),
    ],
)
def test_tls(octets: bytes, title: str) -> None:
    assert speak_tls(octets) == Spoken(title)
