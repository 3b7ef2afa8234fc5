import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fleet_runs import Run
from namespaces import Segment
from serving import NAME, Machine, Observer, Serve, Served, site_of

from phonesim.config.device_profile import DeviceLogConfig, DeviceProfile, LogRecordText
from phonesim.device.device_log import KINDS
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import PhoneKey
from phonesim.drivers.site_host import SiteHost
from phonesim.mocksite import exchange as on

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


@pytest.fixture
async def serve(
    new_address: Callable[[], str], site_authority: SiteAuthority
) -> AsyncIterator[Serve]:
    hosts: list[SiteHost] = []

    async def start(protocol: str, port: int, **more: object) -> Served:
        machine, observer, address = Machine(), Observer(), new_address()
        listener = on.Listener(
            name="server1",
            protocol=protocol,
            address=address,
            port=port,
            server=machine,
            names=(NAME,),
            **more,  # type: ignore[arg-type]
        )
        host = SiteHost(site_of(listener), site_authority, observer, time.monotonic)
        hosts.append(host)
        await host.start(None)
        return Served(machine, host, observer, address)

    yield start
    for host in hosts:
        await host.stop()


@pytest.fixture
async def run(tmp_path: Path, site_authority: SiteAuthority, phone_key: PhoneKey) -> Run:
    return Run(tmp_path, site_authority, phone_key)


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment()
    yield segment
    segment.remove()
