import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import PhoneKey


@pytest.fixture(scope="session")
def phone_key() -> PhoneKey:
    key = rsa.generate_private_key(65537, 2048)
    return PhoneKey(
        key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )


@pytest.fixture(scope="session")
def site_authority() -> SiteAuthority:
    """An authority that lives in the present, for real handshakes."""
    return SiteAuthority("Contoso")
