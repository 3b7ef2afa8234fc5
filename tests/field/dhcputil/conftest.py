from __future__ import annotations

import pytest

from phonesim.config.device_profile import DeviceProfile
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values
from phonesim.profiles import DEVICE, load


@pytest.fixture(scope="session")
def profile() -> DeviceProfile:
    return load(DEVICE, "polycom-cx600")


@pytest.fixture
def values() -> SignInValues:
    """Two Registrars, a web server of 23 characters, and VLAN 100."""
    return read_sign_in_values(
        ["fe01.contoso.com", "fe02.contoso.com"], web_server="server.fqdn.company.com", vlan_id=100
    )
