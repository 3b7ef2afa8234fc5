"""SIP authentication on the wire; the vectors are those of the sign-in reference, section 15."""

from __future__ import annotations

import contextlib
import hashlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from phonesim.errors import DecodeError
from phonesim.wire.sip import (
    Challenge,
    Credentials,
    NameAddress,
    SipRequest,
    SipResponse,
    decode_sip,
    encode_sip,
    response_to,
)
from phonesim.wire.sipae import (
    AUTHENTICATION_INFO,
    GSSAPI_LIMIT,
    AuthenticationInfo,
    Authorization,
    HmacKey,
    Offer,
    authentication_info,
    authentication_info_text,
    challenge_of,
    credentials_of,
    keying_material,
    mac_hash_of,
    read_authorization,
    read_offer,
    signature_buffer,
    signing_keys,
)

REALM = "SIP Communications Service"

# --- vectors A and B: what real clients and servers signed ---

A_REQUEST = SipRequest(
    method="REGISTER",
    uri="sip:cosmo.local",
    vias=("SIP/2.0/TLS 192.168.172.6:12723",),
    sender=NameAddress(uri="sip:user@cosmo.local", tag="3e49177a52", epid="c8ca638a15"),
    recipient=NameAddress(uri="sip:user@cosmo.local"),
    call_id="4037df9284354df39065195bd57a4b14",
    cseq=3,
)
A_RESPONSE = msgspec.structs.replace(
    response_to(A_REQUEST, 200, "OK", to_tag="5E61CCD925D17E043D9A74835A88F664", expires=7200)
)
B_RESPONSE = SipResponse(
    status=200,
    reason="OK",
    vias=("SIP/2.0/TLS 192.168.172.6:12723",),
    sender=NameAddress(uri="sip:gabriel@ocs.provo.novell.com", tag="2947328781"),
    recipient=NameAddress(
        uri="sip:gabriel@ocs.provo.novell.com", tag="B816D65C2300A32CFA6D371F2AF537FD"
    ),
    call_id="8592g5DCBa1694i5887m0D0Bt2247b3F38xAE9Fx",
    cseq=3,
    cseq_method="REGISTER",
    expires=900,
)
C_REQUEST = SipRequest(
    method="REGISTER",
    uri="sip:contoso.com",
    vias=("SIP/2.0/TLS 10.0.0.1:5061",),
    sender=NameAddress(uri="sip:alice@contoso.com", tag="4a2b44d131"),
    recipient=NameAddress(uri="sip:alice@contoso.com"),
    call_id="d5f2b95d5be64c2cbfb38aa5d3a87ae7",
    cseq=4,
)

A_TARGET, B_TARGET = "cosmo-ocs-r2.cosmo.local", "ocs1.ocs.provo.novell.com"


@pytest.mark.parametrize(
    ("arguments", "message", "buffer"),
    [
        (
            ("NTLM", REALM, A_TARGET, 4, "13317733", 1),
            A_REQUEST,
            b"<NTLM><13317733><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local>"
            b"<4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52>"
            b"<sip:user@cosmo.local><><><><>",
        ),
        (
            ("NTLM", REALM, A_TARGET, 4, "9616454F", 1),
            A_RESPONSE,
            b"<NTLM><9616454F><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local>"
            b"<4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52>"
            b"<sip:user@cosmo.local><5E61CCD925D17E043D9A74835A88F664><><><7200><200>",
        ),
        (
            ("NTLM", REALM, B_TARGET, 2, "0878F41B", 1),
            B_RESPONSE,
            b"<NTLM><0878F41B><1><SIP Communications Service><ocs1.ocs.provo.novell.com>"
            b"<8592g5DCBa1694i5887m0D0Bt2247b3F38xAE9Fx><3><REGISTER>"
            b"<sip:gabriel@ocs.provo.novell.com><2947328781><B816D65C2300A32CFA6D371F2AF537FD>"
            b"<900><200>",
        ),
        (
            ("TLS-DSK", REALM, "server.contoso.com", 4, "0a1b2c3d", 1),
            C_REQUEST,
            b"<TLS-DSK><0a1b2c3d><1><SIP Communications Service><server.contoso.com>"
            b"<d5f2b95d5be64c2cbfb38aa5d3a87ae7><4><REGISTER><sip:alice@contoso.com><4a2b44d131>"
            b"<sip:alice@contoso.com><><><><>",
        ),
    ],
)
def test_the_buffer_is_that_of_the_vectors(arguments, message, buffer):
    assert signature_buffer(*arguments, message) == buffer
    # And so it is after a journey: nothing on the way changes a value that is signed.
    assert signature_buffer(*arguments, decode_sip(encode_sip(message))) == buffer


@pytest.mark.parametrize(
    ("identities", "signed"),
    [
        ((("P-Asserted-Identity", "<sip:a@b>, <tel:+1425>"),), "<sip:a@b><tel:+1425>"),
        ((("p-preferred-identity", '"A, B" <sip:a@b>'),), "<sip:a@b><>"),
        (
            (("P-Asserted-Identity", "<sip:a@b>"), ("P-Asserted-Identity", "<tel:+1>")),
            "<sip:a@b><tel:+1>",
        ),
        ((("P-Asserted-Identity", '"no end'),), "<><>"),
    ],
)
def test_identities_are_signed_from_version_3(identities, signed):
    request = msgspec.structs.replace(A_REQUEST, headers=identities)
    buffer = signature_buffer("NTLM", REALM, A_TARGET, 3, "00000000", 1, request).decode()
    assert buffer.endswith(f"<sip:user@cosmo.local><>{signed}<>")
    older = signature_buffer("NTLM", REALM, A_TARGET, 2, "00000000", 1, request).decode()
    assert older.endswith("<3e49177a52><><>")


# --- vector C ---

MASTER = bytes(range(0x30))
C_KEYS = {
    "md5-sha1": (
        "7db5b73956f827779c14a889051cceeff590bb12af8df2db2edfcfbbb707d344",
        "9e9c4697e5e1c800beb9085490222fb3c60ecd075090850f2d199394c99d3e03",
        "sha1",
        "7ef2b3f05e73d7dca2063cf040a61df940ba61f2",
        "3a792c9a0f591864ef21b2b67c08a9bdef67b2af",
    ),
    "sha256": (
        "940502bee3d46d527e83eeecba373c3c73808ab75e7376f3eff643eb149dcd2d",
        "8038dbd140ec3dda38eb8cd94e5c1e92fb98bbde38983aa2d3dd2e0eab9beaf8",
        "sha1",
        "483786f6fb12f2c8b061df43bd01106d547eeaa2",
        "d982439901b6b1852500bfa20db40c5d727c300f",
    ),
    "sha384": (
        "f07b0f852ee068b4ad570fd9ad777e0fc48203be4c14b66ecd52455f8a193b7f",
        "825e328f7f7ffe858d703738865ec25f76e95a06f1c6ec4f8f4a0e3abfabd359",
        "sha384",
        "cb5aeec5d050370099f5237e59c6d1c27ca6859a2c7f51c5159015f079230245"
        "cbcd7f14aa17a8c4e6f6267d0b9a0efd",
        "e7c54489d399486af62d00fc2cc2554a45e11f479e270806a67ab48900f7253c"
        "4560a26ab0719b7c61aae96984a9114a",
    ),
}


@pytest.mark.parametrize("prf_hash", C_KEYS)
def test_keys_and_signatures_are_those_of_vector_c(prf_hash):
    client, server, mac_hash, by_client, by_server = C_KEYS[prf_hash]
    material = keying_material(MASTER, b"\x11" * 32, b"\x22" * 32, prf_hash)
    keys = signing_keys(material, mac_hash)
    assert keys.client == HmacKey(bytes.fromhex(client), mac_hash)
    assert keys.server == HmacKey(bytes.fromhex(server), mac_hash)
    buffer = signature_buffer("TLS-DSK", REALM, "server.contoso.com", 4, "0a1b2c3d", 1, C_REQUEST)
    assert keys.client.sign(buffer) == by_client
    assert keys.server.sign(buffer) == by_server
    assert keys.client.verifies(buffer, by_client.upper())
    assert not keys.client.verifies(buffer, by_server)


def test_a_signature_is_an_hmac_of_full_length():
    expected = hmac.new(b"k" * 32, b"buffer", hashlib.md5).hexdigest()
    assert HmacKey(b"k" * 32, "md5").sign(b"buffer") == expected


def test_too_little_keying_material_gives_no_keys():
    with pytest.raises(ValueError, match="127 octets"):
        signing_keys(bytes(127), "sha1")


@pytest.mark.parametrize(
    ("suite", "mac_hash"),
    [
        ("RC4-MD5", "md5"),
        ("AES128-SHA", "sha1"),
        ("DES-CBC3-SHA", "sha1"),
        ("AES128-SHA256", "sha256"),
        ("AES256-GCM-SHA384", "sha384"),
    ],
)
def test_the_hash_is_that_of_the_suite(suite, mac_hash):
    assert mac_hash_of(suite) == mac_hash


# --- headers ---

OFFER = Offer(
    scheme="TLS-DSK",
    realm=REALM,
    targetname="LYNC2013-SERVER.lync.loc",
    version=4,
    sts_uri="https://LYNC2013-SERVER.lync.loc:443/CertProv/CertProvisioningService.svc",
)
LINES = """SIP/2.0 401 Unauthorized\r
Via: SIP/2.0/TLS 10.0.0.1:65100;branch=z9hG4bK1\r
From: <sip:a@b>;tag=1;epid=2\r
To: <sip:a@b>;tag=3\r
Call-ID: c\r
CSeq: 1 REGISTER\r
WWW-Authenticate: NTLM realm="SIP Communications Service", \
targetname="LYNC2013-SERVER.lync.loc", version=4\r
WWW-Authenticate: Kerberos realm="SIP Communications Service", \
targetname="sip/LYNC2013-SERVER.lync.loc", version=4\r
WWW-Authenticate: TLS-DSK realm="SIP Communications Service", \
targetname="LYNC2013-SERVER.lync.loc", version=4, \
sts-uri="https://LYNC2013-SERVER.lync.loc:443/CertProv/CertProvisioningService.svc"\r
Content-Length: 0\r
\r
"""


def test_the_offers_of_a_captured_401_are_read_and_written():
    message = decode_sip(LINES.encode())
    offers = [read_offer(challenge) for challenge in message.challenges]
    assert [offer.scheme for offer in offers] == ["NTLM", "Kerberos", "TLS-DSK"]
    assert offers[1].targetname == "sip/LYNC2013-SERVER.lync.loc"
    assert offers[2] == OFFER
    assert [challenge_of(offer) for offer in offers] == list(message.challenges)


def test_a_signed_request_is_written_as_clients_write_it():
    authorization = Authorization(
        scheme="TLS-DSK",
        realm=REALM,
        targetname="fe01.contoso.com",
        version=4,
        opaque="1A2B3C4D",
        crand="0a1b2c3d",
        cnum=1,
        response="7ef2b3f05e73d7dca2063cf040a61df940ba61f2",
    )
    request = msgspec.structs.replace(C_REQUEST, credentials=(credentials_of(authorization),))
    assert (
        'Authorization: TLS-DSK qop="auth", opaque="1A2B3C4D", '
        'realm="SIP Communications Service", targetname="fe01.contoso.com", version=4, '
        'crand="0a1b2c3d", cnum="1", response="7ef2b3f05e73d7dca2063cf040a61df940ba61f2"\r\n'
    ) in encode_sip(request).decode()
    assert read_authorization(request.credentials[0]) == authorization


def test_other_schemes_are_left_to_others():
    assert read_offer(Challenge(scheme="Digest", parameters=(("realm", "x"),))) is None
    assert read_authorization(Credentials(scheme="Digest")) is None
    assert authentication_info(response_to(A_REQUEST, 200, "OK")) is None
    digest = ((AUTHENTICATION_INFO, "Digest nextnonce=x"),)
    assert authentication_info(response_to(A_REQUEST, 200, "OK", headers=digest)) is None


def changed(values, changes):
    """The parameters with these changes; None leaves one out."""
    return tuple(
        (name, value) for name, value in {**values, **changes}.items() if value is not None
    )


GOOD = {"realm": "r", "targetname": "t", "version": "4"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"realm": None}, "realm is missing"),
        ({"targetname": None}, "targetname is missing"),
        ({"version": "5"}, "version '5'"),
        ({"gssapi-data": "not base64!"}, "gssapi-data is not base64"),
        ({"gssapi-data": "QUJD=QUJD"}, "gssapi-data is not base64"),
        ({"gssapi-data": "A" * 4 * GSSAPI_LIMIT}, f"{GSSAPI_LIMIT} is the limit"),
    ],
)
def test_malformed_parameters_are_refused_with_a_reason(changes, problem):
    parameters = changed(GOOD, changes)
    with pytest.raises(DecodeError, match=problem):
        read_offer(Challenge(scheme="TLS-DSK", parameters=parameters))
    with pytest.raises(DecodeError, match=problem):
        read_authorization(Credentials(scheme="TLS-DSK", parameters=parameters))


SIGNED = {**GOOD, "opaque": "o", "crand": "0a1b2c3d", "cnum": "1", "response": "ab" * 20}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"crand": None}, "response without crand or cnum"),
        ({"cnum": None}, "response without crand or cnum"),
        ({"crand": "xyz"}, "crand is not 8 hexadecimal digits"),
        ({"cnum": "0"}, "cnum '0' is no number"),
        ({"cnum": "-1"}, "cnum '-1' is no number"),
        ({"cnum": "4294967296"}, "cnum '4294967296' is no number"),
        ({"cnum": "²"}, "is no number"),
        ({"response": "zz" * 20}, "response is not 16 to 64 hexadecimal octets"),
        ({"response": "ab" * 15}, "response is not 16 to 64"),
        ({"response": "ab" * 65}, "response is not 16 to 64"),
    ],
)
def test_malformed_signatures_are_refused_with_a_reason(changes, problem):
    parameters = changed(SIGNED, changes)
    with pytest.raises(DecodeError, match=problem):
        read_authorization(Credentials(scheme="NTLM", parameters=parameters))


INFO = AuthenticationInfo(
    scheme="TLS-DSK",
    realm=REALM,
    targetname="fe01.contoso.com",
    version=4,
    opaque='a "quoted" one',
    srand="1D9666D9",
    snum=1,
    rspauth="3359c8ac2e6229b2eb9738ac707dc8c3e54f65f0",
)


def test_a_signed_response_is_written_and_read():
    headers = (("Server", "x"), (AUTHENTICATION_INFO, authentication_info_text(INFO)))
    response = response_to(A_REQUEST, 200, "OK", headers=headers)
    assert authentication_info(decode_sip(encode_sip(response))) == INFO
    proxied = response_to(
        A_REQUEST, 200, "OK", headers=(("proxy-authentication-info", headers[1][1]),)
    )
    assert authentication_info(proxied) == INFO


@pytest.mark.parametrize("name", ["opaque", "srand", "snum", "rspauth", "realm", "targetname"])
def test_a_response_with_half_a_signature_is_malformed(name):
    text = authentication_info_text(INFO).replace(f"{name}=", "other=")
    with pytest.raises(DecodeError):
        authentication_info(
            response_to(A_REQUEST, 200, "OK", headers=((AUTHENTICATION_INFO, text),))
        )


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
OCTETS = st.none() | st.binary(max_size=200)
VERSIONS = st.sampled_from([2, 3, 4])
SCHEMES = st.sampled_from(["TLS-DSK", "NTLM", "Kerberos"])
RANDOMS = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)
SIGNATURES = st.binary(min_size=16, max_size=64).map(bytes.hex)
NUMBERS = st.integers(1, 2**32 - 1)


@given(
    st.builds(
        Offer,
        scheme=SCHEMES,
        realm=TEXTS,
        targetname=TEXTS,
        version=VERSIONS,
        opaque=st.none() | TEXTS,
        gssapi_data=OCTETS,
        sts_uri=st.none() | TEXTS,
        is_proxy=st.booleans(),
    )
)
def test_any_offer_survives_its_header(offer):
    assert read_offer(challenge_of(offer)) == offer


@given(
    st.builds(
        Authorization,
        scheme=SCHEMES,
        realm=TEXTS,
        targetname=TEXTS,
        version=VERSIONS,
        opaque=st.none() | TEXTS,
        gssapi_data=OCTETS,
        is_proxy=st.booleans(),
    ),
    st.none() | st.tuples(RANDOMS, NUMBERS, SIGNATURES),
)
def test_any_authorization_survives_its_header(authorization, signed):
    if signed is not None:
        crand, cnum, response = signed
        authorization = msgspec.structs.replace(
            authorization, crand=crand, cnum=cnum, response=response
        )
    assert read_authorization(credentials_of(authorization)) == authorization


PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "realm",
                "targetname",
                "version",
                "opaque",
                "gssapi-data",
                "crand",
                "cnum",
                "response",
                "srand",
                "snum",
                "rspauth",
                "qop",
                "sts-uri",
            ]
        ),
        st.one_of(TEXTS, st.text(max_size=20), st.sampled_from(["4", "1", "0a1b2c3d", "ab" * 20])),
    ),
    max_size=14,
).map(tuple)


@given(SCHEMES, PARAMETERS, st.text(max_size=60))
def test_whatever_comes_is_read_or_refused(scheme, parameters, text):
    for read in (
        lambda: read_offer(Challenge(scheme=scheme, parameters=parameters)),
        lambda: read_authorization(Credentials(scheme=scheme, parameters=parameters)),
        lambda: authentication_info(
            response_to(A_REQUEST, 200, "OK", headers=((AUTHENTICATION_INFO, f"{scheme} {text}"),))
        ),
    ):
        with contextlib.suppress(DecodeError):
            read()


# --- the same keys as OpenSSL's ---


def test_keys_are_those_that_openssl_exports(inner_handshake):
    for version, prf_hash in ((SSL.TLS1_VERSION, "md5-sha1"), (SSL.TLS1_2_VERSION, "sha256")):
        client, server = inner_handshake(version)
        for side in (client, server):
            assert keying_material(
                side.master_key(), side.client_random(), side.server_random(), prf_hash
            ) == side.export_keying_material(b"client EAP encryption", 128)


@pytest.fixture(scope="module")
def inner_handshake():
    """Two ends of a TLS connection over memory, through their handshake."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from phonesim.drivers.authority import SiteAuthority

    credentials = SiteAuthority().server_credentials(("fe01.contoso.com",))

    def shake(version):
        ends = []
        for is_server in (False, True):
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_min_proto_version(version)
            context.set_max_proto_version(version)
            context.set_cipher_list(b"AES128-SHA:@SECLEVEL=0")
            if is_server:
                context.use_privatekey(load_pem_private_key(credentials.key, None))
                context.use_certificate(x509.load_pem_x509_certificate(credentials.certificate))
            end = SSL.Connection(context, None)
            end.set_accept_state() if is_server else end.set_connect_state()
            ends.append(end)
        for turn in range(6):
            end, other = ends[turn % 2], ends[1 - turn % 2]
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(65536))
        return ends

    return shake


def test_no_keys_are_shown():
    shown = repr(signing_keys(bytes(128), "sha1"))
    assert shown == "SigningKeys(client=HmacKey(), server=HmacKey())"


def test_the_longest_flight_fits_into_a_header():
    flight = bytes(GSSAPI_LIMIT)
    offer = Offer(scheme="TLS-DSK", realm="r", targetname="t", version=4, gssapi_data=flight)
    answer = response_to(A_REQUEST, 401, "Unauthorized", challenges=(challenge_of(offer),))
    (challenge,) = decode_sip(encode_sip(answer)).challenges
    assert read_offer(challenge) == offer
