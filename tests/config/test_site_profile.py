"""Values that no server could have, and no packet carry."""

from pathlib import Path

import pytest

from phonesim.profiles import FLEET, SITE, problems

DNS = "name: d, address: 127.20.0.11"
SRV = "{name: a, port: 70000, target: b}"
WEB = "name: w, address: 127.20.0.20"
SIP = "name: r, address: 127.20.0.21"


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (
            f"dns_servers: [{{{DNS}, zones: [{{origin: x, srv: [{SRV}]}}]}}]",
            "dns_servers.0.zones.0.srv.0.port",
        ),
        (f"dns_servers: [{{{DNS}, zones: [{{origin: x, ttl: -1}}]}}]", "dns_servers.0.zones.0.ttl"),
        (f"dns_servers: [{{{DNS}, zones: [], udp_limit: -1}}]", "dns_servers.0.udp_limit"),
        (f"web_services: [{{{WEB}, fqdn: ''}}]", "web_services.0.fqdn"),
        (f"registrars: [{{{SIP}, fqdn: 'a b'}}]", "registrars.0.fqdn"),
        (f"registrars: [{{{SIP}, fqdn: a, port: 0}}]", "registrars.0.port"),
        (f"registrars: [{{{SIP}, fqdn: a, expires_minimum: 0}}]", "registrars.0.expires_minimum"),
        (
            f"registrars: [{{{SIP}, fqdn: a, keep_alive_timeout: 0}}]",
            "registrars.0.keep_alive_timeout",
        ),
        ("switch: {dscp: 64}", "switch.dscp"),
        ("users: [{sip_uri: 'sip:a@b', number: '1', pin: '2', first: -1}]", "users.0.first"),
    ],
)
def test_a_site_value_that_cannot_be_is_refused(tmp_path: Path, line: str, place: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"name: x\n{line}\n")
    [problem] = problems(SITE, str(file))
    assert problem.startswith(f"{file}:2: {place}: should ")


def test_what_a_fleet_names_is_looked_up(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "name: x\ndevices: [{device: nokia}]\nsite: nowhere\nusers_from: nobody\nfaults: [none]\n"
    )
    found = [line.partition(";")[0].removeprefix(f"{file}:") for line in problems(FLEET, str(file))]
    assert sorted(found) == [
        "2: devices.0.device: no device profile is named 'nokia'",
        "3: site: no site profile is named 'nowhere'",
        "4: users_from: no site profile is named 'nobody'",
        "5: faults.0: no fault profile is named 'none'",
    ]
