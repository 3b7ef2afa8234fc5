from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

from phonesim.device.outcome import Stage
from phonesim.errors import ProfileError
from phonesim.fleet.plan import Plan, read_plan
from phonesim.profiles import parse_override
from phonesim.relay_agent import Circuit

REMOTE = (
    "fleet.relay={servers: [10.0.0.1], giaddrs: [10.1.0.1, 10.2.0.1]}",
    "fleet.site=none",
)


def plan_of(*assignments: str) -> Plan:
    return read_plan("relay-load", [parse_override(text) for text in assignments])


def test_phones_are_spread_evenly_and_each_link_has_all_models() -> None:
    plan = plan_of(
        "fleet.phones=400",
        "fleet.devices=[{device: polycom-cx600}, {device: hp-4120}]",
    )
    links = Counter(spec.link for spec in plan.specs)
    assert set(links.values()) == {20}
    models = Counter((spec.link, spec.profile.name) for spec in plan.specs)
    assert set(models.values()) == {10}
    # and every stretch of the fleet goes everywhere
    assert len({spec.link for spec in plan.specs[:20]}) == 20


def test_option_82_is_made_for_each_phone() -> None:
    plan = plan_of("fleet.phones=2")
    first, second = plan.specs
    mac = first.mac.hex()
    assert first.link == "branch01"
    circuit = "010f" + b"branch01/port 1".hex() + "0206" + mac
    assert first.circuits == (Circuit("127.101.0.1", bytes.fromhex(circuit)),)
    assert b"branch02/port 2" in second.circuits[0].information


def test_templates_know_number_mac_giaddr_and_link() -> None:
    text = plan_of("fleet.phones=1", "fleet.relay.circuit_id='{n:03d} {mac} {giaddr} {link}'")
    expected = b"001 00-04-F2-00-00-01 127.101.0.1 branch01"
    assert text.specs[0].circuits[0].information[2 : 2 + len(expected)] == expected
    digits = plan_of("fleet.phones=1", "fleet.relay.circuit_id='0x{n:04x}{mac}{giaddr}{link}'")
    octets = "0001" + "0004f2000001" + "7f650001" + b"branch01".hex()
    assert digits.specs[0].circuits[0].information[2 : 2 + len(octets) // 2].hex() == octets


def test_a_link_has_ids_of_its_own_or_those_of_all() -> None:
    own = "fleet.relay.giaddrs=[{giaddr: 127.101.0.1, circuit_id: x}, 127.102.0.1]"
    first, second = plan_of("fleet.phones=2", own, "fleet.relay.remote_id=null").specs
    assert first.circuits[0].information == b"\x01\x01x"
    assert second.circuits[0].information == b"\x01\x12127.102.0.1/port 2"


def test_a_twin_is_an_agent_of_its_own() -> None:
    twins = "fleet.relay.giaddrs=[{giaddr: 127.101.0.1, twin: 127.101.0.2}]"
    (spec,) = plan_of(
        "fleet.phones=1", twins, "fleet.relay.circuit_id={giaddr}", "fleet.relay.remote_id=null"
    ).specs
    assert spec.circuits == (
        Circuit("127.101.0.1", b"\x01\x0b127.101.0.1"),
        Circuit("127.101.0.2", b"\x01\x0b127.101.0.2"),
    )


def test_phones_that_go_further_are_planned_too() -> None:
    assert plan_of("fleet.stages=[ip, discovery]").specs[0].last_stage is Stage.DISCOVERY
    assert plan_of(*REMOTE).specs[0].circuits == (Circuit("10.1.0.1"),)
    further = plan_of(*REMOTE, "fleet.stages=[ip, discovery]", "fleet.interface=eth9")
    assert further.fleet.interface == "eth9"


def test_the_fleet_in_the_documentation_can_be_run(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/relay-mode.md").read_text()
    block = page[page.index("    # branches.yaml") : page.index("| key | meaning |")]
    path = tmp_path / "branches.yaml"
    path.write_text(dedent(block))
    plan = read_plan(str(path))
    third = plan.specs[2]
    assert [circuit.giaddr for circuit in third.circuits] == ["10.3.0.1", "10.3.0.2"]
    expected = "0106" + "000400030102" + "0208" + "0006" + third.mac.hex()
    assert third.circuits[1].information.hex() == expected


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["fleet.relay=null"], "needs a section relay with servers and giaddrs"),
        (["fleet.attach=loopback"], "relay agents are for --attach relay"),
        (["fleet.stages=[discovery]"], r"need leased addresses: use stages \[ip, discovery\]"),
        (["fleet.interface=eth9"], "need no interface"),
        (["fleet.site=none"], "need --port-offset: that of the site"),
        (["fleet.relay.servers=[127.0.0.1]"], "has no DHCP server 127.0.0.1; there are: 127.20.0."),
        ([REMOTE[0]], "reach a mock site on loopback only"),
        ([*REMOTE, "fleet.port_offset=10"], "leave port_offset out"),
        ([*REMOTE, "fleet.stages=[ip, discovery]"], "give the interface to put them on"),
        (["device.dhcp.direct_renewal=true"], "renews from its leased address"),
        (["fleet.relay.circuit_id={port}"], "circuit_id '{port}' cannot be filled in"),
        (["fleet.relay.remote_id='0x{n}'"], "is not two hexadecimal digits an octet"),
        (["fleet.relay.circuit_id=''"], "circuit_id has 0 octets: it has 1 to 255"),
        ([f"fleet.relay.circuit_id='{'x' * 300}'"], "circuit_id has 300 octets: it has 1 to 255"),
        ([f"fleet.relay.circuit_id='{'x' * 250}'"], "option 82 has 260 octets, and 255 is the mo"),
    ],
)
def test_what_no_relay_agent_can_do_is_refused(assignments: list[str], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        plan_of(*assignments)
