"""One user's sign-in, tried on a raw interface, at servers of other projects."""

from __future__ import annotations

import json
import subprocess

import pytest
from netlab import DHCP, FE01_NAME, WEB_NAME, Lab
from real_servers import start_dnsmasq, start_mock_site

NUMBER, PIN, USER = "+142555500001", "00001", "sip:user00001@contoso.com"


def bootstrap(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `phonesim bootstrap` in the phones' namespace, with the PIN on stdin."""
    return subprocess.run(
        [
            *lab.phonesim,
            *("bootstrap", "--phone", NUMBER, "--pin", "-", "--user-sip-address", USER),
            *("--attach", "wire", "-i", "phones0", "--yes", "--out", str(lab.folder / "logs")),
            *("--set", "device.vlan.lldp_wait=0", *arguments),
        ],
        input=f"{PIN}\n",
        capture_output=True,
        text=True,
        timeout=55,
    )


@pytest.mark.interop("dnsmasq")
def test_a_user_signs_in_on_the_wire(lab: Lab) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)

    came = bootstrap(lab)

    assert came.returncode == 0, came.stderr
    assert f"won by dhcp:{DHCP}" in came.stdout
    assert f"TargetFqdn : {FE01_NAME}\nResult     : Success\n" in came.stdout
    assert "This will send packets on interface phones0" in came.stderr
    assert PIN not in came.stdout.replace(NUMBER, "").replace(USER, "")
    assert lab.addresses() == []


@pytest.mark.interop("dnsmasq")
def test_where_a_target_passes_and_cached_phones_work_cold_ones_fail(lab: Lab) -> None:
    # As in a migration: option 43 is gone, and the Registrars have no web services. A phone that
    # still has its certificate needs none.
    start_dnsmasq(lab, serves_dns=True, has_option_43=False)
    start_mock_site(lab)

    path = "/CertProv/CertProvisioningService.svc"
    target = ("--target-fqdn", FE01_NAME, "--target-uri", f"https://{WEB_NAME}{path}")
    came = bootstrap(lab, *target, "--also", "cached", "--json")

    assert came.returncode == 3, came.stderr
    document = json.loads(came.stdout)
    assert document["result"] == "Success"
    works = {trial["phones"]: trial["would_work"] for trial in document["trials"]}
    assert works == {"named": True, "cold": False, "cached": True, "stale": True}
    assert document["trials"][1]["findings"], document
    assert "Only phones that still have their certificate sign in." in document["conclusion"][0]
    assert lab.addresses() == []
