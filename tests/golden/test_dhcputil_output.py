"""Configurations of DHCP servers, as they were when somebody last read and approved them.

`pytest tests/golden --update-golden` writes them anew; the difference is for review.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from phonesim.field.dhcputil.servers import SERVERS
from phonesim.field.dhcputil.sign_in_values import read_sign_in_values

FOLDER = Path(__file__).with_name("dhcputil")
OUTPUTS = [(server.name, form) for server in SERVERS for form in ("short", "long", "cleanup")]


@pytest.mark.parametrize(("name", "form"), OUTPUTS)
def test_the_configuration_is_the_approved_one(
    name: str, form: str, pytestconfig: pytest.Config
) -> None:
    (server,) = (each for each in SERVERS if each.name == name)
    values = read_sign_in_values(
        ["fe01.contoso.com", "fe02.contoso.com"][: 1 if form == "short" else 2],
        web_server="sip.contoso.com" if form == "short" else "sipserver.fqdn.company.com",
        vlan_id=None if form == "short" or name == "cisco-ios" else 100,
    )
    text = server.remove(values) if form == "cleanup" else server.write(values)
    approved = FOLDER / f"{name}-{form}.txt"
    if pytestconfig.getoption("--update-golden"):
        approved.parent.mkdir(exist_ok=True)
        approved.write_text(text)
    assert text == approved.read_text()
