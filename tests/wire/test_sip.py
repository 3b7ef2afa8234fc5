import msgspec
import pytest
import sipmessage

from phonesim.errors import DecodeError
from phonesim.wire.sip import (
    BODY_LIMIT,
    HEAD_LIMIT,
    HEADERS_LIMIT,
    LINE_LIMIT,
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
    header,
    response_to,
)


def octets(text: str) -> bytes:
    """SIP as it is written in a document: line ends become CRLF."""
    return text.lstrip("\n").replace("\n", "\r\n").encode()


# Sign-in reference section 17.1, an exchange of OCS R2; the texts that the reference
# leaves out are made up.
REGISTER_OCTETS = octets("""
REGISTER sip:cosmo.local SIP/2.0
Via: SIP/2.0/TLS 192.168.172.6:12723
Max-Forwards: 70
From: <sip:user@cosmo.local>;tag=3e49177a52;epid=c8ca638a15
To: <sip:user@cosmo.local>
Call-ID: 4037df9284354df39065195bd57a4b14
CSeq: 3 REGISTER
Contact: <sip:192.168.172.6:12723;transport=tls;ms-opaque=fad3dfab32>;methods="INVITE, MESSAGE";\
proxy=replace;+sip.instance="<urn:uuid:34D859DB-6585-5F91-A3B4-DE853C15347D>"
User-Agent: UCCAPI/3.5.6907.0 OC/3.5.6907.0 (Communicator)
Supported: gruu-10, adhoclist, msrtc-event-categories
Supported: ms-forking
ms-keep-alive: UAC;hop-hop=yes
Event: registration
Content-Length: 0

""")

REGISTER = SipRequest(
    method="REGISTER",
    uri="sip:cosmo.local",
    vias=("SIP/2.0/TLS 192.168.172.6:12723",),
    sender=NameAddress(uri="sip:user@cosmo.local", tag="3e49177a52", epid="c8ca638a15"),
    recipient=NameAddress(uri="sip:user@cosmo.local"),
    call_id="4037df9284354df39065195bd57a4b14",
    cseq=3,
    contacts=(
        Contact(
            uri="sip:192.168.172.6:12723;transport=tls;ms-opaque=fad3dfab32",
            instance="34D859DB-6585-5F91-A3B4-DE853C15347D",
            parameters=(("methods", "INVITE, MESSAGE"), ("proxy", "replace")),
        ),
    ),
    headers=(
        ("User-Agent", "UCCAPI/3.5.6907.0 OC/3.5.6907.0 (Communicator)"),
        ("Supported", "gruu-10, adhoclist, msrtc-event-categories"),
        ("Supported", "ms-forking"),
        ("ms-keep-alive", "UAC;hop-hop=yes"),
        ("Event", "registration"),
    ),
)

# Section 10: the three challenges of a Lync 2013 server, some in compact form.
CHALLENGES_OCTETS = octets("""
SIP/2.0 401 Unauthorized
Date: Mon, 05 Jan 2026 07:00:00 GMT
WWW-Authenticate: NTLM realm="SIP Communications Service", \
targetname="LYNC2013-SERVER.lync.loc", version=4
WWW-Authenticate: Kerberos realm="SIP Communications Service", \
targetname="sip/LYNC2013-SERVER.lync.loc", version=4
WWW-Authenticate: TLS-DSK realm="SIP Communications Service", \
targetname="LYNC2013-SERVER.lync.loc", version=4, \
sts-uri="https://LYNC2013-SERVER.lync.loc:443/CertProv/CertProvisioningService.svc"
f: "Alice" <sip:alice@lync.loc>;tag=1;epid=c8ca638a15
t: <sip:alice@lync.loc>;tag=5E61CCD925D17E043D9A74835A88F664
i: abc@10.0.0.1
CSeq: 1 REGISTER
v: SIP/2.0/TLS 10.0.0.1:1025;ms-received-port=65100;ms-received-cid=5D3F00
Server: RTC/5.0
l: 0

""")

REALM = ("realm", "SIP Communications Service")
LYNC = "LYNC2013-SERVER.lync.loc"
CHALLENGES = (
    Challenge(scheme="NTLM", parameters=(REALM, ("targetname", LYNC), ("version", "4"))),
    Challenge(
        scheme="Kerberos", parameters=(REALM, ("targetname", f"sip/{LYNC}"), ("version", "4"))
    ),
    Challenge(
        scheme="TLS-DSK",
        parameters=(
            REALM,
            ("targetname", LYNC),
            ("version", "4"),
            ("sts-uri", f"https://{LYNC}:443/CertProv/CertProvisioningService.svc"),
        ),
    ),
)

OK = response_to(
    REGISTER,
    200,
    "OK",
    to_tag="5E61CCD925D17E043D9A74835A88F664",
    contacts=(
        Contact(
            uri="sip:10.0.0.1:1025;transport=tls",
            expires=7200,
            instance="34d859db-6585-5f91-a3b4-de853c15347d",
            parameters=(
                (
                    "gruu",
                    "sip:user@cosmo.local;opaque=user:epid:21nYNIVlkV-jtN6FPBU0fQAA;gruu",
                ),
            ),
        ),
    ),
    expires=7200,
)


def test_a_register_has_the_octets_of_the_real_one() -> None:
    assert encode_sip(REGISTER) == REGISTER_OCTETS
    assert decode_sip(REGISTER_OCTETS) == REGISTER


def test_the_challenges_of_a_real_server_keep_their_order_and_parameters() -> None:
    message = decode_sip(CHALLENGES_OCTETS)
    assert isinstance(message, SipResponse)
    assert (message.status, message.reason) == (401, "Unauthorized")
    assert message.challenges == CHALLENGES
    assert message.vias == (
        "SIP/2.0/TLS 10.0.0.1:1025;ms-received-port=65100;ms-received-cid=5D3F00",
    )
    assert message.sender == NameAddress(
        uri="sip:alice@lync.loc", tag="1", epid="c8ca638a15", display_name="Alice"
    )
    assert message.call_id == "abc@10.0.0.1"
    assert header(message, "SERVER") == "RTC/5.0"
    assert header(message, "Expires") is None
    assert decode_sip(encode_sip(message)) == message


def test_challenges_are_written_as_servers_write_them() -> None:
    lines = encode_sip(response_to(REGISTER, 401, "Unauthorized", challenges=CHALLENGES))
    sent = [line for line in lines.split(b"\r\n") if line.startswith(b"WWW-Authenticate")]
    received = [
        line for line in CHALLENGES_OCTETS.split(b"\r\n") if line.startswith(b"WWW-Authenticate")
    ]
    assert sent == received


def test_credentials_follow_the_contacts_and_precede_expires() -> None:
    message = msgspec.structs.replace(
        REGISTER,
        credentials=(
            Credentials(scheme="NTLM", parameters=(("gssapi-data", ""), ("version", "4"))),
            Credentials(
                scheme="Digest",
                parameters=(("username", 'a "b" \\ c'), ("qop", "auth"), ("nc", "00000001")),
                is_proxy=True,
            ),
        ),
        expires=0,
        headers=(("Event", "registration"),),
    )
    data = encode_sip(message)
    assert data.split(b"\r\n")[8:] == [
        b'Authorization: NTLM gssapi-data="", version=4',
        b'Proxy-Authorization: Digest username="a \\"b\\" \\\\ c", qop=auth, nc=00000001',
        b"Expires: 0",
        b"Event: registration",
        b"Content-Length: 0",
        b"",
        b"",
    ]
    assert decode_sip(data) == message


def test_a_contact_of_an_answer_carries_expires_gruu_and_instance() -> None:
    data = encode_sip(OK)
    assert (
        b"Contact: <sip:10.0.0.1:1025;transport=tls>;expires=7200;"
        b'gruu="sip:user@cosmo.local;opaque=user:epid:21nYNIVlkV-jtN6FPBU0fQAA;gruu";'
        b'+sip.instance="<urn:uuid:34d859db-6585-5f91-a3b4-de853c15347d>"\r\n'
    ) in data
    assert decode_sip(data) == OK


def test_an_answer_copies_what_rfc_3261_says() -> None:
    assert OK.vias == REGISTER.vias
    assert OK.sender == REGISTER.sender
    assert OK.recipient == NameAddress(
        uri="sip:user@cosmo.local", tag="5E61CCD925D17E043D9A74835A88F664"
    )
    assert (OK.call_id, OK.cseq, OK.cseq_method) == (REGISTER.call_id, 3, "REGISTER")


def test_an_answer_keeps_the_tag_and_the_name_that_to_has() -> None:
    recipient = NameAddress(
        uri="sip:a@b.c", tag="old", display_name="Bob", parameters=(("x", "y"),)
    )
    request = msgspec.structs.replace(REGISTER, recipient=recipient)
    assert response_to(request, 200, "OK", to_tag="new").recipient == recipient
    assert response_to(request, 200, "OK").recipient == recipient
    tagless = msgspec.structs.replace(recipient, tag=None)
    request = msgspec.structs.replace(REGISTER, recipient=tagless)
    assert response_to(request, 200, "OK", to_tag="old").recipient == recipient


def test_a_redirect_names_where_to_go() -> None:
    message = decode_sip(
        octets("""
SIP/2.0 301 Redirect request to Home Server
Via: SIP/2.0/TLS 10.0.0.1:1025
From: sip:a@b.c;tag=1
To: sip:a@b.c;tag=2
Call-ID: 1
CSeq: 1 REGISTER
Contact: <sip:192.168.74.5:5061;transport=tls>
Expires: 2592000
Content-Length: 0

""")
    )
    assert isinstance(message, SipResponse)
    assert message.reason == "Redirect request to Home Server"
    assert message.contacts == (Contact(uri="sip:192.168.74.5:5061;transport=tls"),)
    assert message.expires == 2592000
    assert message.sender == NameAddress(uri="sip:a@b.c", tag="1")


def with_lines(*lines: str, start: str = "REGISTER sip:a.b SIP/2.0", body: bytes = b"") -> bytes:
    """A sound request, in which each of `lines` takes the place of its header's own."""
    headers = {
        "Via": "Via: SIP/2.0/TLS 10.0.0.1:1025",
        "From": "From: <sip:a@b.c>;tag=1",
        "To": "To: <sip:a@b.c>",
        "Call-ID": "Call-ID: 1",
        "CSeq": "CSeq: 1 REGISTER",
    }
    for line in lines:
        headers.pop(line.partition(":")[0], None)
    kept = [line for line in [*headers.values(), *lines] if not line.endswith(":-")]
    return "\r\n".join([start, *kept, "", ""]).encode() + body


def request_with(*lines: str) -> SipRequest:
    message = decode_sip(with_lines(*lines))
    assert isinstance(message, SipRequest)
    return message


def test_folded_lines_are_joined() -> None:
    message = request_with("Via: SIP/2.0/TLS\r\n 10.0.0.1", "Subject: one\r\n\ttwo\r\n  three")
    assert message.vias == ("SIP/2.0/TLS 10.0.0.1",)
    assert message.headers == (("Subject", "one two three"),)


def test_every_compact_name_is_written_out() -> None:
    message = request_with("s : hello", "k:x", "o:\tpresence", "U: presence", "c: text/plain")
    assert message.headers == (
        ("Subject", "hello"),
        ("Supported", "x"),
        ("Event", "presence"),
        ("Allow-Events", "presence"),
        ("Content-Type", "text/plain"),
    )
    compact = request_with("m: <sip:a>", "l: 0")
    assert compact.contacts == (Contact(uri="sip:a"),)


def test_max_forwards_is_70_when_it_is_left_out() -> None:
    assert request_with().max_forwards == 70
    assert request_with("Max-Forwards: 0").max_forwards == 0


@pytest.mark.parametrize(
    ("value", "vias"),
    [
        ("SIP/2.0/UDP a", ("SIP/2.0/UDP a",)),
        ("SIP/2.0/UDP a;x, SIP/2.0/TCP b", ("SIP/2.0/UDP a;x", "SIP/2.0/TCP b")),
        ('SIP / 2.0 / TLS lab1;x="a,b" ,sip/2.0/TLS b', None),
    ],
)
def test_each_via_is_kept_whole(value: str, vias: tuple[str, ...] | None) -> None:
    expected = vias or ('SIP / 2.0 / TLS lab1;x="a,b"', "sip/2.0/TLS b")
    assert request_with(f"Via: {value}").vias == expected
    assert request_with(f"Via: {value}", "Via: SIP/2.0/TLS z").vias == (
        *expected,
        "SIP/2.0/TLS z",
    )


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("sip:a@b.c;tag=1", NameAddress(uri="sip:a@b.c", tag="1")),
        ("<sip:a@b.c;tag=0>", NameAddress(uri="sip:a@b.c;tag=0")),
        ("Bob Ä. <tel:+1425>", NameAddress(uri="tel:+1425", display_name="Bob Ä.")),
        (
            '"B <\\"x\\"> \\\\; é" <sip:a>',
            NameAddress(uri="sip:a", display_name='B <"x"> \\; é'),
        ),
        (
            '<sip:a> ; Tag = x;lr;EPID=0A;y="1;2"',
            NameAddress(uri="sip:a", tag="x", epid="0A", parameters=(("lr", ""), ("y", "1;2"))),
        ),
    ],
)
def test_addresses_are_read_in_every_form(value: str, address: NameAddress) -> None:
    assert request_with(f"From: {value}").sender == address
    assert request_with(f"To: {value}").recipient == address


@pytest.mark.parametrize(
    ("value", "contacts"),
    [
        ("*", (Contact(uri="*"),)),
        ("sip:a@b;expires=5", (Contact(uri="sip:a@b", expires=5),)),
        ('"A, B" <sip:a>, sip:b , <sip:c?x=y,z>;q=0.5', None),
        (
            '<sip:a>;+sip.instance="<urn:imei:90420156-025763-0>"',
            (
                Contact(
                    uri="sip:a", parameters=(("+sip.instance", "<urn:imei:90420156-025763-0>"),)
                ),
            ),
        ),
    ],
)
def test_contacts_are_read_in_every_form(value: str, contacts: tuple[Contact, ...] | None) -> None:
    expected = contacts or (
        Contact(uri="sip:a"),
        Contact(uri="sip:b"),
        Contact(uri="sip:c?x=y,z", parameters=(("q", "0.5"),)),
    )
    message = request_with(f"Contact: {value}")
    assert message.contacts == expected
    assert decode_sip(encode_sip(message)) == message


@pytest.mark.parametrize(
    ("value", "credentials"),
    [
        ("NTLM", Credentials(scheme="NTLM")),
        (
            'Digest\trealm = "a, b" ,algorithm=MD5,  opaque=""',
            Credentials(
                scheme="Digest",
                parameters=(("realm", "a, b"), ("algorithm", "MD5"), ("opaque", "")),
            ),
        ),
        (
            "TLS-DSK gssapi-data=FgMBAC+/AA==, version=4",
            Credentials(
                scheme="TLS-DSK", parameters=(("gssapi-data", "FgMBAC+/AA=="), ("version", "4"))
            ),
        ),
    ],
)
def test_credentials_are_read_in_every_form(value: str, credentials: Credentials) -> None:
    message = request_with(f"authorization: {value}")
    assert message.credentials == (credentials,)
    assert decode_sip(encode_sip(message)) == message
    by_proxy = msgspec.structs.replace(credentials, is_proxy=True)
    assert request_with(f"Proxy-Authorization: {value}").credentials == (by_proxy,)


def test_hosts_and_escapes_stay_as_they_are() -> None:
    uri = "sip:%61lice@lab1;opaque=user:epid:x_y;gruu"
    data = with_lines(f"Contact: <{uri}>", start=f"REGISTER {uri} SIP/2.0")
    message = decode_sip(data)
    assert isinstance(message, SipRequest)
    assert message.uri == uri
    assert message.contacts == (Contact(uri=uri),)


def test_a_body_is_what_content_length_says() -> None:
    message = decode_sip(with_lines("Content-Length: 4", body=b"\r\n\r\n"))
    assert message.body == b"\r\n\r\n"
    assert decode_sip(with_lines(body=b"rest")).body == b"rest"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no blank line ends the SIP headers within 65536 octets"),
        (b"\r\n\r\n", "start line '' is neither request nor response"),
        (b"\x16\x03\x01\r\n\r\n", "the SIP headers hold a control character"),
        (with_lines("Subject: a\nb"), "the SIP headers hold a control character"),
        (with_lines("Subject: a\x00b"), "the SIP headers hold a control character"),
        (with_lines("Subject: ?").replace(b"?", b"\xff"), "the SIP headers are not UTF-8 at octet"),
        (with_lines(start="GET / HTTP/1.1"), "start line 'GET / HTTP/1.1' is neither request nor"),
        (with_lines(start="REGISTER a.b SIP/2.0"), "is neither request nor response"),
        (with_lines(start="REGISTER sip:a.b SIP/3.0"), "is neither request nor response"),
        (with_lines(start="REGISTER  sip:a.b SIP/2.0"), "is neither request nor response"),
        (with_lines(start="SIP/2.0 099 x"), "is neither request nor response"),
        (with_lines(start="SIP/2.0 700 x"), "is neither request nor response"),
        (with_lines(start="SIP/2.0 2000 x"), "is neither request nor response"),
        (with_lines(start=" REGISTER sip:a.b SIP/2.0"), "is neither request nor response"),
        (with_lines("no colon"), "header line 'no colon' does not begin with a name and a colon"),
        (with_lines("a b: c"), "header line 'a b: c' does not begin with a name and a colon"),
        (with_lines(": c"), "header line ': c' does not begin with a name and a colon"),
        *((with_lines(f"{name}:-"), f"no {name} header") for name in ("Via", "From", "To")),
        *((with_lines(f"{name}:-"), f"no {name} header") for name in ("Call-ID", "CSeq")),
        (with_lines("From: <sip:a>", "f: <sip:a>"), "From occurs twice"),
        (with_lines("Expires: 1", "expires: 1"), "expires occurs twice"),
        (with_lines("Content-Length: 0", "l: 0"), "Content-Length occurs twice"),
        (with_lines("Content-Length: 1"), "Content-Length is 1, the body has 0 octets"),
        (with_lines("Content-Length: 0", body=b"x"), "Content-Length is 0, the body has 1 octets"),
        (with_lines("Content-Length: -1"), "Content-Length '-1' is no number from 0 to 4294967295"),
        (with_lines("Content-Length: +1"), "Content-Length '+1' is no number"),
        (with_lines("Content-Length: ٣"), "Content-Length '٣' is no number"),
        (with_lines("Content-Length:"), "Content-Length '' is no number"),
        (with_lines("Content-Length: 65537"), "Content-Length is 65537; 65536 is the limit"),
        (with_lines(body=bytes(BODY_LIMIT + 1)), "the body has 65537 octets; 65536 is the limit"),
        (with_lines("Max-Forwards: 256"), "Max-Forwards '256' is no number from 0 to 255"),
        (with_lines("Expires: 4294967296"), "Expires '4294967296' is no number from 0 to"),
        (with_lines("Expires: soon"), "Expires 'soon' is no number"),
        (with_lines("Via:"), "Via '' begins without SIP/2.0/transport and a host"),
        (with_lines("Via: SIP/2.0/TLS"), "begins without SIP/2.0/transport and a host"),
        (with_lines("Via: SIP/2.0/TLS a,"), "Via '' begins without SIP/2.0/transport and a host"),
        (with_lines('Via: SIP/2.0/TLS a,";'), "Via has a quote that does not end"),
        (with_lines("Call-ID:"), "Call-ID '' is empty or holds a space"),
        (with_lines("Call-ID: a b"), "Call-ID 'a b' is empty or holds a space"),
        (with_lines("CSeq: REGISTER"), "CSeq 'REGISTER' is no number and method"),
        (with_lines("CSeq: 1"), "CSeq '1' is no number and method"),
        (with_lines("CSeq: ٣ REGISTER"), "CSeq '٣ REGISTER' is no number below 2**31 and method"),
        (with_lines("CSeq: 2147483648 REGISTER"), "is no number below 2**31 and method"),
        (with_lines(f"CSeq: {'9' * 5000} REGISTER"), "is no number and method"),
        (with_lines("CSeq: 1 INVITE"), "CSeq says 'INVITE', the request is 'REGISTER'"),
        (with_lines("CSeq: 1 register"), "CSeq says 'register', the request is 'REGISTER'"),
        (with_lines("From:"), "From '' holds no address"),
        (with_lines("From: alice"), "From 'alice' holds no address"),
        (with_lines("From: <alice>"), "From '<alice>' holds no address"),
        (with_lines("From: <sip:a"), "From '<sip:a' holds no address"),
        (with_lines('From: "a <sip:a>'), "From '\"a <sip:a>' holds no address"),
        (with_lines("From: <sip:a>, <sip:b>"), "From '<sip:a>, <sip:b>' is not one address"),
        (with_lines("From: <sip:a>;=1"), "From has ';=1' for a parameter"),
        (with_lines("From: <sip:a>;tag"), "From has a tag that is no token"),
        (with_lines('From: <sip:a>;epid="a b"'), "From has a epid that is no token"),
        (with_lines("From: <sip:a>;tag=1;Tag=2"), "From has the parameter 'Tag' twice"),
        (with_lines("From: <sip:a>;tag="), "is not one address"),
        (with_lines("Contact:"), "Contact '' holds no address"),
        (with_lines("Contact: *, <sip:a>"), "Contact '*, <sip:a>' holds no address"),
        (with_lines("Contact: <sip:a>,"), "Contact '' holds no address"),
        (with_lines("Contact: <sip:a> <sip:b>"), "Contact has '<sip:b>' after an address"),
        (with_lines("Contact: <sip:a>;expires"), "expires of Contact '' is no number"),
        (with_lines("Contact: <sip:a>;expires=1;expires=2"), "has the parameter 'expires' twice"),
        (with_lines("Authorization:"), "Authorization does not begin with a scheme"),
        (with_lines('Authorization: "x"'), "Authorization does not begin with a scheme"),
        (with_lines("Authorization: Bearer abc"), "has the parameter 'abc' without a value"),
        (with_lines("Authorization: NTLM a=b;c"), "Authorization 'NTLM' is no list of name=value"),
        (with_lines('Authorization: NTLM a="b'), "has the parameter 'a' without a value"),
        (with_lines("Authorization: NTLM a=b,"), "Authorization has ',' for a parameter"),
        (with_lines("Authorization: NTLM a=b,A=c"), "Authorization has the parameter 'A' twice"),
        (with_lines("Subject: " + "x" * LINE_LIMIT), "is longer than 32768 characters"),
        (with_lines(start=f"REGISTER sip:{'x' * LINE_LIMIT} SIP/2.0"), "the start line is longer"),
        (with_lines(*["a: b"] * HEADERS_LIMIT), "261 SIP headers; 256 is the limit"),
        (b"a: b\r\n" * 11000 + b"\r\n", "no blank line ends the SIP headers within 65536 octets"),
    ],
)
def test_what_is_malformed_is_said_precisely(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_sip(data)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "message",
    [
        msgspec.structs.replace(REGISTER, headers=(("Subject", "a\r\nContact: <sip:mallory>"),)),
        msgspec.structs.replace(REGISTER, uri="sip:a\n"),
        msgspec.structs.replace(OK, reason="OK\r"),
    ],
)
def test_a_line_break_in_a_value_is_not_written(message: SipMessage) -> None:
    with pytest.raises(ValueError, match="a SIP header value holds a line break"):
        encode_sip(message)


# --- against sipmessage ---------------------------------------------------------


def test_another_implementation_reads_what_is_written() -> None:
    theirs = sipmessage.Message.parse(encode_sip(REGISTER))
    assert isinstance(theirs, sipmessage.Request)
    assert (theirs.method, str(theirs.uri)) == (REGISTER.method, REGISTER.uri)
    assert [str(via) for via in theirs.via] == list(REGISTER.vias)
    assert str(theirs.from_address.uri) == REGISTER.sender.uri
    assert dict(theirs.from_address.parameters) == {"tag": "3e49177a52", "epid": "c8ca638a15"}
    assert str(theirs.cseq) == "3 REGISTER"
    assert theirs.max_forwards == 70
    assert theirs.content_length == 0
    assert str(theirs.contact[0].uri) == REGISTER.contacts[0].uri
    assert theirs.supported == [
        "gruu-10",
        "adhoclist",
        "msrtc-event-categories",
        "ms-forking",
    ]


def test_what_another_implementation_writes_is_read() -> None:
    theirs = sipmessage.Response(code=407, phrase="Proxy Authentication Required", body=b"hello")
    theirs.via = [sipmessage.Via.parse("SIP/2.0/TLS 10.0.0.1:1025;branch=z9hG4bK1;rport")]
    theirs.from_address = sipmessage.Address.parse('"Alice \\"A\\"" <sip:alice@b.c>;tag=1')
    theirs.to_address = sipmessage.Address.parse("<sip:bob@b.c>;tag=2")
    theirs.call_id = "x@y"
    theirs.cseq = sipmessage.CSeq(sequence=7, method="INVITE")
    theirs.proxy_authenticate = sipmessage.AuthChallenge.parse('Digest realm="r", nonce="n"')
    theirs.content_length = 5
    message = decode_sip(bytes(theirs))
    assert message == SipResponse(
        status=407,
        reason="Proxy Authentication Required",
        vias=("SIP/2.0/TLS 10.0.0.1:1025;branch=z9hG4bK1;rport",),
        sender=NameAddress(uri="sip:alice@b.c", tag="1", display_name='Alice "A"'),
        recipient=NameAddress(uri="sip:bob@b.c", tag="2"),
        call_id="x@y",
        cseq=7,
        cseq_method="INVITE",
        challenges=(
            Challenge(scheme="Digest", parameters=(("realm", "r"), ("nonce", "n")), is_proxy=True),
        ),
        body=b"hello",
    )


# --- the stream -----------------------------------------------------------------

PING = KeepAlive(is_ping=True)
PONG = KeepAlive(is_ping=False)
WITH_BODY = msgspec.structs.replace(REGISTER, body=b"\r\n\r\nREGISTER")


@pytest.mark.parametrize(
    ("data", "items"),
    [
        (REGISTER_OCTETS, [REGISTER]),
        (REGISTER_OCTETS + encode_sip(WITH_BODY) + encode_sip(OK), [REGISTER, WITH_BODY, OK]),
        (b"\r\n\r\n" + REGISTER_OCTETS + b"\r\n\r\n", [PING, REGISTER, PING]),
        (b"\r\n" + REGISTER_OCTETS, [PONG, REGISTER]),
        (b"\r\n\r\n\r\n" + REGISTER_OCTETS, [PING, PONG, REGISTER]),
        (b"\r\n\r\n\r\n\r\n", [PING, PING]),
        (b"\r\n", []),
        (b"", []),
        (REGISTER_OCTETS[:-1], []),
    ],
)
def test_a_stream_gives_the_same_in_one_piece_and_octet_by_octet(
    data: bytes, items: list[SipMessage | KeepAlive]
) -> None:
    assert SipStream().feed(data) == items
    stream = SipStream()
    received = [item for octet in data for item in stream.feed(bytes([octet]))]
    assert received == items


def test_a_long_body_octet_by_octet() -> None:
    message = msgspec.structs.replace(REGISTER, body=b"x" * BODY_LIMIT)
    stream = SipStream()
    received = [item for octet in encode_sip(message) for item in stream.feed(bytes([octet]))]
    assert received == [message]


def test_a_message_that_cannot_be_read_does_not_cost_the_others() -> None:
    bad = REGISTER_OCTETS.replace(b"CSeq: 3 ", b"CSeq: x ")
    stream = SipStream()
    assert stream.feed(REGISTER_OCTETS + bad + REGISTER_OCTETS) == [REGISTER]
    with pytest.raises(DecodeError, match="CSeq 'x REGISTER' is no number and method"):
        stream.feed(b"")
    assert not stream.framing_lost
    assert stream.feed(b"") == [REGISTER]
    assert stream.feed(b"") == []
    with pytest.raises(DecodeError, match="CSeq"):
        stream.feed(bad)
    assert stream.feed(REGISTER_OCTETS) == [REGISTER]


NO_LENGTH = REGISTER_OCTETS.replace(b"Content-Length: 0\r\n", b"")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (NO_LENGTH, "no Content-Length: on a stream, the message has no known end"),
        (REGISTER_OCTETS.replace(b"Length: 0", b"Length: x"), "Content-Length 'x' is no number"),
        (
            REGISTER_OCTETS.replace(b"Length: 0", b"Length: 65537"),
            "Content-Length is 65537; 65536 is the limit",
        ),
        (REGISTER_OCTETS.replace(b"Event:", b"Event"), "does not begin with a name and a colon"),
        (b"\n" + REGISTER_OCTETS, "a stray CR or LF stands between two SIP messages"),
        (b"\rR", "a stray CR or LF stands between two SIP messages"),
        (b"\x16\x03\x01\x00\xc8\r\n\r\n", "the SIP headers hold a control character"),
        (b"x" * (HEAD_LIMIT + 4), "no blank line ends the SIP headers within 65536 octets"),
        (b"x: y\r\n" * 11000 + b"\r\n", "no blank line ends the SIP headers within 65536 octets"),
    ],
)
def test_a_stream_whose_framing_is_lost_stays_lost(data: bytes, text: str) -> None:
    stream = SipStream()
    assert stream.feed(REGISTER_OCTETS + data) == [REGISTER]
    assert stream.framing_lost
    for more in (b"", REGISTER_OCTETS, b""):
        with pytest.raises(DecodeError) as caught:
            stream.feed(more)
        assert text in str(caught.value)


def test_the_longest_head_passes_and_one_octet_more_does_not() -> None:
    padding = HEAD_LIMIT - len(REGISTER_OCTETS) + 4
    lines = b"".join(
        b"a: %s\r\n" % (b"x" * (LINE_LIMIT - 10)) for _ in range(padding // LINE_LIMIT)
    )
    lines += b"b: %s\r\n" % (b"x" * (padding - len(lines) - 5))
    longest = REGISTER_OCTETS.replace(b"Event:", lines + b"Event:")
    assert len(longest) == HEAD_LIMIT + 4
    assert len(SipStream().feed(longest)) == 1
    assert decode_sip(longest) == SipStream().feed(longest)[0]
    too_long = longest.replace(b"b: ", b"b: x")
    with pytest.raises(DecodeError, match="no blank line"):
        SipStream().feed(too_long)
    with pytest.raises(DecodeError, match="no blank line"):
        decode_sip(too_long)


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_observer_sees_every_octet_message_by_message(step: int) -> None:
    body = REGISTER_OCTETS.replace(b"Content-Length: 0", b"Content-Length: 4") + b"body"
    unreadable = REGISTER_OCTETS.replace(b"CSeq: ", b"CSeq: x")
    pieces = [REGISTER_OCTETS, b"\r\n\r\n", unreadable, body, b"\r\n", b"no SIP\r\n\r\n"]
    seen: list[bytes] = []
    stream = SipStream(seen.append)
    data = b"".join(pieces)
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        while True:
            try:
                items = stream.feed(piece)
            except DecodeError:
                if stream.framing_lost:
                    break
            else:
                if not items:
                    break
            piece = b""
    assert seen == pieces
    assert stream.framing_lost
