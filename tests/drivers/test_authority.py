import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from phonesim.drivers.authority import CertificateKind, SiteAuthority
from phonesim.drivers.key_pool import PhoneKey
from phonesim.errors import DecodeError, UsageError

NOW = 1_767_596_400  # 2026-01-05 07:00 UTC


@pytest.fixture(scope="module")
def authority() -> SiteAuthority:
    return SiteAuthority("Contoso", lambda: NOW)


def request(name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def make_key(size: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, size)


def leaf(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


def names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_signatures_are_those_of_the_signing_certificate(authority: SiteAuthority) -> None:
    signature = authority.sign(b"data")
    key = x509.load_der_x509_certificate(authority.signing_certificate()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature, b"data", padding.PKCS1v15(), hashes.SHA1())
    assert authority.has_signed(b"data", signature)
    assert not authority.has_signed(b"other", signature)
    assert not authority.has_signed(b"data", b"")
    assert not SiteAuthority("Other", lambda: NOW).has_signed(b"data", signature)


def test_the_chain_is_root_and_issuer(authority: SiteAuthority) -> None:
    root, issuing = pkcs7.load_der_pkcs7_certificates(authority.chain())
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    assert root.subject.rfc4514_string() == "CN=Contoso Root CA"


def test_a_request_is_signed_for_its_own_subject_and_key(
    authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    csr = phone_key.certificate_request("user1@contoso.com")
    assert authority.request_subject(csr) == "user1@contoso.com"
    der = authority.issue(csr, NOW, NOW + 3600)
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.public_key() == x509.load_der_x509_csr(csr).public_key()
    assert certificate.not_valid_after_utc.timestamp() == NOW + 3600
    assert authority.subject(der, NOW + 10) == "user1@contoso.com"
    assert authority.subject(der, NOW - 1) is None
    assert authority.subject(der, NOW + 3601) is None


def test_a_request_may_be_signed_by_sha_1_or_sha_2(
    authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    assert authority.request_subject(phone_key.certificate_request("user1@contoso.com"))
    assert authority.request_subject(request("user1@contoso.com", make_key()))


def test_a_certificate_from_elsewhere_has_no_subject_here(
    authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    other = SiteAuthority("Contoso", lambda: NOW)
    der = other.issue(phone_key.certificate_request("user1@contoso.com"), NOW, NOW + 3600)
    assert authority.subject(der, NOW) is None
    assert authority.subject(b"no certificate", NOW) is None


def test_a_request_with_a_broken_signature_is_refused(
    authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    csr = bytearray(phone_key.certificate_request("user1@contoso.com"))
    csr[-1] ^= 1
    with pytest.raises(DecodeError, match="signature"):
        authority.request_subject(bytes(csr))
    with pytest.raises(DecodeError, match="signature"):
        authority.issue(bytes(csr), NOW, NOW + 60)


@pytest.mark.parametrize(
    ("csr", "reason"),
    [
        (b"", "certificate request"),
        (b"\x30\x80garbage", "certificate request"),
        (request("a@b", ec.generate_private_key(ec.SECP256R1())), "RSA"),
    ],
)
def test_what_is_no_rsa_request_is_refused(
    authority: SiteAuthority, csr: bytes, reason: str
) -> None:
    with pytest.raises(DecodeError, match=reason):
        authority.request_subject(csr)


def test_a_long_user_name_survives(authority: SiteAuthority, phone_key: PhoneKey) -> None:
    name = "a" * 60 + "@contoso.com"
    csr = phone_key.certificate_request(name)
    assert authority.request_subject(csr) == name
    assert authority.subject(authority.issue(csr, NOW, NOW + 60), NOW) == name


@pytest.mark.parametrize(
    ("kind", "dns_names", "from_days", "to_days"),
    [
        ("valid", ["web.contoso.com", "sip.contoso.com"], -1, 397),
        ("expired", ["web.contoso.com", "sip.contoso.com"], -397, -1),
        ("not-yet-valid", ["web.contoso.com", "sip.contoso.com"], 1, 397),
        ("wildcard", ["*.contoso.com"], -1, 397),
        ("wrong-name", ["wrong-name.contoso.com"], -1, 397),
        ("untrusted", ["web.contoso.com", "sip.contoso.com"], -1, 397),
    ],
)
def test_server_certificates_are_wrong_in_one_way_only(
    authority: SiteAuthority,
    kind: CertificateKind,
    dns_names: list[str],
    from_days: int,
    to_days: int,
) -> None:
    credentials = authority.server_credentials(("web.contoso.com", "sip.contoso.com"), kind)
    certificate = leaf(credentials.certificate)
    now, day = datetime.datetime.fromtimestamp(NOW, datetime.UTC), datetime.timedelta(days=1)
    assert names(certificate) == dns_names
    assert certificate.not_valid_before_utc == now + from_days * day
    assert certificate.not_valid_after_utc == now + to_days * day
    issuing = pkcs7.load_der_pkcs7_certificates(authority.chain())[1]
    assert (certificate.issuer == issuing.subject) == (kind != "untrusted")
    assert b"PRIVATE KEY" in credentials.key
    assert b"PRIVATE KEY" not in credentials.certificate


def test_servers_share_one_key(authority: SiteAuthority) -> None:
    assert (
        authority.server_credentials(("a.contoso.com",)).key
        == authority.server_credentials(("b.contoso.com",), "untrusted").key
    )


def test_an_authority_lives_on_in_another_run(authority: SiteAuthority) -> None:
    issued = authority.issue(request("user1@contoso.com", make_key()), NOW, NOW + 60)
    later = SiteAuthority.load(authority.dump(), lambda: NOW)
    assert later.chain() == authority.chain()
    assert later.subject(issued, NOW) == "user1@contoso.com"


@pytest.mark.parametrize("dumped", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_authority_is_refused(dumped: bytes) -> None:
    with pytest.raises(UsageError, match="authority cannot be read"):
        SiteAuthority.load(dumped)
