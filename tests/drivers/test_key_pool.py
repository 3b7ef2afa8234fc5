import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import SHARED_KEYS, KeyPool, PhoneKey, certificate_validity


async def test_a_unique_pool_gives_each_phone_its_own_key() -> None:
    async with KeyPool(3, "unique") as pool:
        await pool.ready()
        keys = [pool.key() for _ in range(3)]
    assert len({key.der for key in keys}) == 3


async def test_a_shared_pool_hands_its_keys_round(phone_key: PhoneKey) -> None:
    async with KeyPool(2, given=[phone_key]) as pool:
        await pool.ready()
        keys = [pool.key() for _ in range(5)]
    assert [key.der for key in keys] == [keys[0].der, keys[1].der] * 2 + [keys[0].der]
    assert keys[0] is phone_key
    assert keys[1].der != phone_key.der


async def test_given_keys_need_no_worker(phone_key: PhoneKey) -> None:
    pool = KeyPool(1000, given=[phone_key] * SHARED_KEYS)
    async with pool:
        await pool.ready()
        assert all(pool.key() is phone_key for _ in range(20))


async def test_a_pool_that_nobody_asks_ends_at_once() -> None:
    async with KeyPool(1000, "unique"):
        pass


def test_a_request_names_its_subject_and_is_signed(phone_key: PhoneKey) -> None:
    csr = x509.load_der_x509_csr(phone_key.certificate_request("user1@contoso.com"))
    assert csr.subject.rfc4514_string() == "CN=user1@contoso.com"
    assert isinstance(csr.signature_hash_algorithm, hashes.SHA1)
    key = csr.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(csr.signature, csr.tbs_certrequest_bytes, padding.PKCS1v15(), hashes.SHA1())


@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize("length", [1, 100, 300, 70_000])
def test_a_request_reads_as_the_library_s_own(phone_key: PhoneKey, length: int) -> None:
    private = serialization.load_der_private_key(phone_key.der, None)
    assert isinstance(private, rsa.RSAPrivateKey)
    attribute = x509.NameAttribute(NameOID.COMMON_NAME, "u" * length, _validate=False)
    built = x509.CertificateSigningRequestBuilder(x509.Name([attribute]))
    made = x509.load_der_x509_csr(phone_key.certificate_request("u" * length))
    assert made.tbs_certrequest_bytes == built.sign(private, hashes.SHA256()).tbs_certrequest_bytes


@pytest.mark.parametrize(
    "der",
    [
        b"",
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        ),
    ],
)
def test_what_is_no_rsa_key_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is cryptography's
        PhoneKey(der)


def test_a_key_signs_with_what_its_certificate_request_shows(phone_key: PhoneKey) -> None:
    csr = x509.load_der_x509_csr(phone_key.certificate_request("user1@contoso.com"))
    key = csr.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(phone_key.sign(b"data"), b"data", padding.PKCS1v15(), hashes.SHA1())


def test_what_its_key_signed_is_known_by_the_certificate(phone_key: PhoneKey) -> None:
    authority = SiteAuthority("Contoso", lambda: 1_767_596_400)
    csr = phone_key.certificate_request("user1@contoso.com")
    certificate = authority.issue(csr, 1_767_596_400, 1_767_600_000)
    assert certificate_validity(certificate) == (1_767_596_400, 1_767_600_000)
    assert authority.verifies(certificate, b"data", phone_key.sign(b"data"))
    assert not authority.verifies(certificate, b"other", phone_key.sign(b"data"))
    assert not authority.verifies(b"no certificate", b"data", phone_key.sign(b"data"))


def test_what_is_no_certificate_has_no_validity() -> None:
    assert certificate_validity(b"no certificate") is None


def test_a_certificate_is_checked_for_its_user_and_its_key(phone_key: PhoneKey) -> None:
    authority = SiteAuthority("Contoso", lambda: 1_767_596_400)
    other = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    csr = phone_key.certificate_request("user1@contoso.com")
    certificate = authority.issue(csr, 1_767_596_400, 1_767_600_000)
    assert phone_key.problem_of(certificate, "User1@contoso.com") == ""
    assert (
        phone_key.problem_of(certificate, "bob@contoso.com") == "it is that of CN=user1@contoso.com"
    )
    assert PhoneKey(other).problem_of(certificate, "user1@contoso.com") == "it is for another key"
    for octets in (b"", b"no certificate", certificate[:-200]):
        assert phone_key.problem_of(octets, "user1@contoso.com") == "it cannot be read"
