"""Configurations that `phonesim dhcputil config` prints, in the servers that they are for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from generated_servers import START, start_dnsmasq, start_kea
from netlab import DHCP, DNS, NO_SWITCH, Lab
from real_servers import start_dnsmasq as start_voice_dnsmasq
from vlanlab import NATIVE_DHCP, VOICE_VLAN, VlanLab

from phonesim.field.dhcputil.servers import read_options, server_named
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values

HERE = "10.77.40.1"
EACH_SERVER = [
    pytest.param("kea", marks=pytest.mark.interop("kea-dhcp4")),
    pytest.param("isc-dhcpd", marks=pytest.mark.interop("dhcpd")),
    pytest.param("dnsmasq", marks=pytest.mark.interop("dnsmasq")),
]
NAMES = [
    ("one", ["fe01.contoso.com"], "webpool.contoso.com"),
    ("two", ["fe01.contoso.com", "fe02.contoso.com"], "a-rather-long-web-pool.fqdn.company.com"),
]

Ask = Callable[..., tuple[int, dict[str, Any]]]


def values(sip_servers: Sequence[str], web_server: str, **more: Any) -> SignInValues:
    return read_sign_in_values(sip_servers, web_server=web_server, **more)


@pytest.fixture
def ask(lab: Lab) -> Ask:
    """`phonesim dhcputil emulate-client` in the phones' namespace: its status and document."""
    address = ["addr", "add", f"{HERE}/16", "dev", "phones0"]
    subprocess.run(["ip", "-n", lab.phones, *address], check=True)

    def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "phonesim", "dhcputil", "emulate-client"]
        finished = subprocess.run(
            [
                *("ip", "netns", "exec", lab.phones, *command, "--json", "--wait", "0.7"),
                *(arguments or ("-i", "phones0", "--yes")),
            ],
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert finished.stdout, finished.stderr
        return finished.returncode, json.loads(finished.stdout)

    return ask


def hex_of(octets: bytes) -> str:
    return octets.hex().upper()


@pytest.mark.parametrize("server", EACH_SERVER)
@pytest.mark.parametrize(("sip_servers", "web_server"), [n[1:] for n in NAMES], ids=["one", "two"])
def test_a_client_gets_the_octets_that_were_configured(
    lab: Lab, ask: Ask, server: str, sip_servers: list[str], web_server: str
) -> None:
    wanted = values(sip_servers, web_server, vlan_id=100)
    START[server](lab, server_named(server).write(wanted))

    status, document = ask()

    assert (status, document["findings"], document["misses"]) == (0, [], []), lab.output(server)
    (answer,) = document["answers"]
    assert (answer["type"], answer["server"], answer["destination"]) == ("ACK", DHCP, HERE)
    assert answer["options"]["43"] == hex_of(wanted.option_43)
    assert answer["options"]["120"] == hex_of(wanted.option_120)
    by_option = {each["option"]: each for each in answer["inspected"]}
    assert by_option[43]["web_services"] == wanted.url
    assert by_option[120]["registrars"] == [f"{name}:5061" for name in sip_servers]

    status, document = ask("-i", "phones0", "--yes", "--class", "CPE-OCPHONE")

    assert (status, document["findings"], document["misses"]) == (0, [], [])
    (answer,) = document["answers"]
    assert answer["options"]["43"] == hex_of(wanted.vlan_option_43 or b"")
    assert answer["inspected"][0]["vlan"] == 100


@pytest.mark.parametrize("server", EACH_SERVER)
def test_a_class_in_the_wrong_case_gets_no_option_43(lab: Lab, ask: Ask, server: str) -> None:
    START[server](lab, server_named(server).write(values(["fe01.contoso.com"], "web.contoso.com")))

    status, document = ask("-i", "phones0", "--yes", "--class", "ms-uc-client")

    (answer,) = document["answers"]
    assert "43" not in answer["options"]
    assert status == 3
    assert "inform-class-wrong" in {each["cause"] for each in document["findings"]}


@pytest.mark.parametrize("server", EACH_SERVER)
def test_a_phone_finds_its_servers(lab: Lab, server: str) -> None:
    wanted = values(["fe01.contoso.com", "fe02.contoso.com"], "webpool.contoso.com")
    START[server](lab, server_named(server).write(wanted))

    status, summary, told = lab.run_fleet(
        *("--phones", "2", *NO_SWITCH, "--set", "fleet.stages=[ip, discovery]")
    )

    assert (status, summary["completed"], summary["failures"]) == (0, 2, {}), told
    logs = lab.device_logs()
    assert len(logs) == 2
    for log in logs.values():
        assert f"Option 43 from {DHCP} hex {wanted.option_43.hex()}" in log
        assert f"Option 120 from {DHCP} hex {wanted.option_120.hex()}" in log
        assert f"Race won by dhcp:{DHCP}" in log
        assert "Option warning" not in log


@pytest.mark.interop("dnsmasq", "ethtool")
@pytest.mark.parametrize("form", ["ascii", "binary-1", "binary-2", "binary-4"])
def test_a_phone_finds_its_vlan(tmp_path: Path, form: str) -> None:
    with VlanLab(tmp_path) as lab:
        wanted = values(["fe01.contoso.com"], "web.b", vlan_id=VOICE_VLAN, vlan_form=form)
        start_voice_dnsmasq(lab, serves_dns=False)
        lab.start_native_dnsmasq(*server_named("dnsmasq").write(wanted).splitlines())

        settings = ("fleet.stages=[vlan, ip]", "device.vlan.lldp_wait=0.5")
        status, summary, told = lab.run_fleet(
            "--phones", "1", *(each for setting in settings for each in ("--set", setting))
        )

        assert (status, summary["completed"]) == (0, 1), told
        (log,) = lab.device_logs().values()
        assert f"Voice VLAN {VOICE_VLAN} source dhcp:{NATIVE_DHCP}" in log


@pytest.mark.interop("dnsmasq")
def test_what_dnsmasq_makes_of_sub_options_is_read_as_dnsmasq_sends_it(lab: Lab, ask: Ask) -> None:
    lines = [
        "dhcp-option=vendor:MS-UC-Client,1,MS-UC-Client",
        "dhcp-option=vendor:MS-UC-Client,2,https",
        "dhcp-option=vendor:MS-UC-Client,3,webpool.contoso.com",
        "dhcp-option=vendor:MS-UC-Client,4,443",
        "dhcp-option=vendor:MS-UC-Client,5,/CertProv/CertProvisioningService.svc",
        "dhcp-option=option:sip-server,fe01.contoso.com",
    ]
    printed = "\n".join(lines) + "\n"
    start_dnsmasq(lab, printed)

    status, document = ask()

    (answer,) = document["answers"]
    read = {each.code: hex_of(each.octets) for each in read_options(printed)}
    assert read == {int(code): answer["options"][code] for code in ("43", "120")}
    assert status == 3
    assert [each["cause"] for each in document["findings"]] == ["option-43-port-not-text"]


@pytest.mark.interop("dnsmasq")
def test_one_server_is_asked_by_unicast(lab: Lab, ask: Ask) -> None:
    wanted = values(["fe01.contoso.com"], "webpool.contoso.com")
    start_dnsmasq(lab, server_named("dnsmasq").write(wanted))

    status, document = ask("--server", DHCP, "--yes")

    assert (status, document["sent"], document["used"]) == (0, 1, 1)
    assert document["answers"][0]["options"]["43"] == hex_of(wanted.option_43)


@pytest.mark.interop("kea-dhcp4")
def test_every_server_is_heard_and_the_one_with_names_is_used(lab: Lab, ask: Ask) -> None:
    wanted = values(["fe01.contoso.com"], "webpool.contoso.com")
    start_kea(lab, '{"Dhcp4": {}}')
    start_kea(lab, server_named("kea").write(wanted), address=DNS)

    status, document = ask()

    by_server = {each["server"]: each for each in document["answers"]}
    assert by_server.keys() == {DHCP, DNS}
    assert by_server[DNS]["used"] is True
    assert by_server[DHCP]["used"] is False
    assert (status, document["findings"]) == (0, [])
