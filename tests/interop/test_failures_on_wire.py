"""Field failures in whole frames: the mock site on one end of a cable, phones on the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVERS = {name: f"10.88.0.{n}" for n, name in enumerate(("dhcp", "dns", "ntp", "web", "fe"), 10)}
SITE = """
name: on-wire
extends: contoso
switch: null
dhcp_servers:
  - name: dhcp01
    address: {dhcp}
    scope: {{subnet: 10.88.0.0/16, first: 10.88.16.1, last: 10.88.255.254, dns_servers: [{dns}],
            ntp_servers: [{ntp}], domain: contoso.com}}
    sign_in: {{web_server_fqdn: webpool.contoso.com, registrars: [fe01.contoso.com]}}
dns_servers:
  - name: dns01
    address: {dns}
    zones: [{{origin: contoso.com, a: {{webpool: [{web}], fe01: [{fe}]}}}}]
ntp_servers: [{{name: ntp01, address: {ntp}}}]
web_services: [{{name: pool01, address: {web}, fqdn: webpool.contoso.com}}]
registrars: [{{name: lync01, address: {fe}, fqdn: fe01.contoso.com}}]
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace with both ends of a cable; the servers' end has their addresses."""
    name = f"failures-{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "phones0", "type", "veth", "peer", "name", "servers0")
        for interface in ("phones0", "servers0"):
            ip("-n", name, "link", "set", interface, "up")
        for address in SERVERS.values():
            ip("-n", name, "addr", "add", f"{address}/16", "dev", "servers0")
        yield name
    finally:
        ip("netns", "del", name)


@pytest.mark.interop("nft")
@pytest.mark.parametrize("failure", ["option-43-cut", "inform-wrong-port", "registrar-down"])
def test_a_failure_comes_out_as_declared(namespace: str, tmp_path: Path, failure: str) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(**SERVERS))
    came = subprocess.run(
        [
            *("ip", "netns", "exec", namespace, sys.executable, "-m", "phonesim"),
            *("reproduce", failure, "--attach", "wire", "--interface", "phones0", "--yes"),
            *("--site", site, "--out", tmp_path / "runs", "--json"),
            *("--set", "device.vlan.lldp_wait=0", "--set", "device.discovery.inform_delays=[1, 1]"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert came.returncode == 0, came.stdout + came.stderr
    assert json.loads(came.stdout)["attach"] == "wire"
