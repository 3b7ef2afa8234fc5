import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from phonesim.config.device_profile import DeviceLogConfig, DeviceProfile, LogRecordText
from phonesim.device.device_log import KINDS
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import PhoneKey

_addresses = random.SystemRandom()


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


@pytest.fixture
def new_address() -> Callable[[], str]:
    """Makes loopback addresses that no other test uses, so that any port of them is free."""
    return lambda: "127." + ".".join(str(_addresses.randrange(60, 250)) for _ in range(3))


@pytest.fixture(scope="session")
def log_profile() -> DeviceLogConfig:
    """A dialect that names each record and its values."""
    return DeviceLogConfig(
        records={
            name: LogRecordText(
                zone="TEST", text=" ".join([name, *(f"{{{field}}}" for field in kind.fields)])
            )
            for name, kind in KINDS.items()
        }
    )


@pytest.fixture(scope="session")
def device(log_profile: DeviceLogConfig) -> DeviceProfile:
    return DeviceProfile(name="test", vendor="TEST", model="T1", oui="00:04:F2", log=log_profile)
