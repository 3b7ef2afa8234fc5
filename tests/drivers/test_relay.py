"""Phones behind relay agents on loopback: a link of stub phones, and whole runs."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from functools import cache, partial

import msgspec
import pytest
from fleet_runs import Run

from phonesim.device.actions import ConfigureAddress, SendDhcp
from phonesim.device.events import (
    AddressProbed,
    DhcpMessageReceived,
    Event,
    MalformedReceived,
    StagesDone,
)
from phonesim.device.outcome import Stage
from phonesim.drivers.live_world import boot_fleet
from phonesim.drivers.relay import RelayLink, RelayNetwork, open_relay
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.errors import UsageError
from phonesim.mocksite.site import Site, build_site
from phonesim.profiles import SITE, load
from phonesim.relay_agent import Circuit
from phonesim.wire.dhcp import (
    BOOTREPLY,
    BROADCAST,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    Option,
    decode_dhcp,
    encode_dhcp,
    encode_relay_information,
)
from phonesim.world import PhoneDisk, PhoneSpec, RunLimits

OFFSET = 30_000
INFORMATION = encode_relay_information(b"port 1", None)


class StubPhone:
    """What a link needs to know of a phone, and what it is told."""

    def __init__(self, spec: PhoneSpec, *circuits: Circuit) -> None:
        self.spec = msgspec.structs.replace(spec, circuits=circuits)
        self.events: list[Event] = []
        self.tap = None

    def deliver(self, event: Event) -> None:
        self.events.append(event)

    def message(
        self, kind: MessageType, ciaddr: str = UNSPECIFIED, op: int = 1, **fields: object
    ) -> DhcpMessage:
        options = {Option.DHCP_MESSAGE_TYPE: bytes((kind,))}
        return DhcpMessage(
            **{  # type: ignore[arg-type]
                "message_type": kind,
                "xid": 7,
                "chaddr": self.spec.mac,
                "ciaddr": ciaddr,
                "op": op,
                "options": options,
                **fields,
            }
        )


class Net:
    """Two relay agents, two phones, a server that only listens, and their addresses."""

    def __init__(self, run: Run, new_address: Callable[[], str]) -> None:
        self.run = run
        self.server, self.leased = new_address(), new_address()
        self.giaddrs = (new_address(), new_address())
        specs = run.specs(2)
        self.phone = StubPhone(
            specs[0], Circuit(self.giaddrs[0], INFORMATION), Circuit(self.giaddrs[1], INFORMATION)
        )
        self.other = StubPhone(specs[1], Circuit(self.giaddrs[0]))
        self.heard: list[tuple[DhcpMessage, Address]] = []
        self.socket = UdpSocket((self.server, 67 + OFFSET), self._arrived)
        self.link: RelayLink | None = None

    def open(
        self,
        *,
        copies: int = 1,
        has_addresses: bool = False,
        squatters: frozenset[str] = frozenset(),
    ) -> RelayLink:
        network = RelayNetwork(servers=(self.server,), copies=copies, has_addresses=has_addresses)
        self.link = RelayLink(
            self.giaddrs, network, None, OFFSET, squatters, self.run.observer, time.monotonic
        )
        for phone in (self.phone, self.other):
            self.link.attach(phone)  # type: ignore[arg-type]
        return self.link

    def send(self, action: SendDhcp, phone: StubPhone | None = None) -> None:
        assert self.link is not None
        self.link.send_dhcp(phone or self.phone, action)  # type: ignore[arg-type]

    def answer(self, giaddr: str, data: bytes, port: int = 67) -> None:
        self.socket.send(data, (giaddr, port + OFFSET))

    def close(self) -> None:
        self.socket.close()
        if self.link is not None:
            self.link.close()

    def _arrived(self, data: bytes, sender: Address) -> None:
        self.heard.append((decode_dhcp(data), sender))


@pytest.fixture
async def net(run: Run, new_address: Callable[[], str]) -> AsyncIterator[Net]:
    made = Net(run, new_address)
    yield made
    made.close()


async def some_time() -> None:
    """Long enough for what is on its way on loopback."""
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_a_broadcast_goes_to_the_server_from_every_agent_as_often_as_it_says(
    net: Net,
) -> None:
    net.open(copies=3)
    discover = net.phone.message(MessageType.DISCOVER, secs=5)
    net.send(SendDhcp(message=discover, source=UNSPECIFIED, destination=BROADCAST))
    await some_time()
    came = [(message.giaddr, sender) for message, sender in net.heard]
    assert came == [(giaddr, (giaddr, 67 + OFFSET)) for giaddr in net.giaddrs for _ in range(3)]
    message = net.heard[0][0]
    assert (message.hops, message.secs, message.options[82]) == (1, 5, INFORMATION)


async def test_what_is_for_one_server_is_not_relayed(net: Net) -> None:
    net.open(copies=3)
    release = net.phone.message(MessageType.RELEASE, ciaddr=net.leased)
    net.send(SendDhcp(message=release, source=net.leased, destination=net.server))
    await some_time()
    assert net.heard == [(release, (net.giaddrs[0], 67 + OFFSET))]


async def test_phones_with_addresses_of_their_own_send_and_hear_there(net: Net) -> None:
    net.open(has_addresses=True)
    inform = net.phone.message(MessageType.INFORM, ciaddr=net.leased)
    net.send(SendDhcp(message=inform, source=net.leased, destination=BROADCAST))
    release = net.phone.message(MessageType.RELEASE, ciaddr=net.leased)
    net.send(SendDhcp(message=release, source=net.leased, destination=net.server))
    answer = net.phone.message(MessageType.ACK, op=BOOTREPLY)
    net.answer(net.leased, encode_dhcp(answer), 68)
    await some_time()
    assert [message.giaddr for message, _ in net.heard] == [*net.giaddrs, UNSPECIFIED]
    assert net.heard[-1][1] == (net.leased, 68 + OFFSET)
    assert net.phone.events == [DhcpMessageReceived(message=answer, source=net.server)]


async def test_an_answer_reaches_its_phone_without_option_82(net: Net) -> None:
    net.open()
    offer = net.phone.message(MessageType.OFFER, op=BOOTREPLY, giaddr=net.giaddrs[1])
    marked = msgspec.structs.replace(offer, options={**offer.options, 82: INFORMATION})
    net.answer(net.giaddrs[1], encode_dhcp(marked))
    await some_time()
    assert net.phone.events == [DhcpMessageReceived(message=offer, source=net.giaddrs[1])]
    assert net.other.events == []
    assert net.link is not None
    assert net.link.notes() == []


async def test_answers_that_are_not_for_the_phone_are_counted_and_told_once(net: Net) -> None:
    link = net.open()
    offer = net.phone.message(MessageType.OFFER, op=BOOTREPLY, giaddr=net.giaddrs[0])
    strange = msgspec.structs.replace(offer, options={**offer.options, 82: b"\x01\x01x"})
    elsewhere = net.other.message(MessageType.OFFER, op=BOOTREPLY, giaddr=net.giaddrs[1])
    nobody = msgspec.structs.replace(offer, chaddr=bytes(6))
    for message, giaddr in (
        (strange, net.giaddrs[0]),
        (strange, net.giaddrs[0]),
        (offer, net.giaddrs[1]),
        (elsewhere, net.giaddrs[1]),
        (nobody, net.giaddrs[0]),
    ):
        net.answer(giaddr, encode_dhcp(message))
    await some_time()
    assert net.phone.events == net.other.events == []
    refused = "relay agents did not pass on"
    assert link.notes() == [
        f"{refused} 2 answers: its option 82 is not the phone's",
        f"{refused} 1 answer: its giaddr is not the address that it came to",
        f"{refused} 1 answer: its phone is not behind the agent that it came to",
    ]
    assert len(net.run.observer.reports) == 3


async def test_a_server_without_option_82_serves_phones_all_the_same(net: Net) -> None:
    link = net.open()
    offer = net.phone.message(MessageType.OFFER, op=BOOTREPLY, giaddr=net.giaddrs[0])
    net.answer(net.giaddrs[0], encode_dhcp(offer))
    await some_time()
    assert net.phone.events == [DhcpMessageReceived(message=offer, source=net.giaddrs[0])]
    assert "1 answers came back without option 82" in link.notes()[0]


async def test_what_cannot_be_read_is_the_phones_to_log(net: Net) -> None:
    net.open()
    offer = net.phone.message(MessageType.OFFER, op=BOOTREPLY, giaddr=net.giaddrs[0])
    net.answer(net.giaddrs[0], encode_dhcp(offer)[:100])
    net.answer(net.giaddrs[0], b"x")
    await some_time()
    (event,) = net.phone.events
    assert isinstance(event, MalformedReceived)
    assert (event.protocol, event.source, event.size) == ("dhcp", net.server, 100)


async def test_an_address_is_free_unless_a_phone_or_a_squatter_has_it(net: Net) -> None:
    link = net.open(squatters=frozenset({"10.0.0.9"}))
    phone, other = net.phone, net.other
    link.probe_address(phone, net.leased)  # type: ignore[arg-type]
    action = ConfigureAddress(address=net.leased, subnet_mask="255.0.0.0")
    link.configure_address(phone, action)  # type: ignore[arg-type]
    link.probe_address(phone, net.leased)  # type: ignore[arg-type]
    link.probe_address(other, net.leased)  # type: ignore[arg-type]
    link.probe_address(other, "10.0.0.9")  # type: ignore[arg-type]
    link.detach(phone)  # type: ignore[arg-type]
    link.probe_address(other, net.leased)  # type: ignore[arg-type]
    free = AddressProbed(address=net.leased, conflict=None)
    assert phone.events == [free, free]
    assert other.events == [
        AddressProbed(address=net.leased, conflict=phone.spec.phone_id),
        AddressProbed(address="10.0.0.9", conflict="02-00-00-00-00-01"),
        free,
    ]


async def test_a_giaddr_that_this_host_has_not_is_refused_with_what_to_do(net: Net) -> None:
    net.giaddrs = (net.giaddrs[0], "198.51.100.7")
    with pytest.raises(UsageError) as refused:
        net.open()
    said = str(refused.value)
    assert said.startswith("giaddr 198.51.100.7 is not an address of this host")
    assert "--interface IF" in said
    assert "ip addr add 198.51.100.7/32 dev IF" in said
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:  # it was let go
        first.bind((net.giaddrs[0], 67 + OFFSET))


async def test_a_giaddr_whose_port_is_taken_is_refused(net: Net) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((net.giaddrs[0], 67 + OFFSET))
        with pytest.raises(UsageError, match=r"port 30067 of giaddr \S+ is taken: end the DHCP"):
            net.open()


def branches(run: Run, *, lease_time: int = 600, second_server: str | None = None) -> Site:
    """The shipped branches; a second server leases other addresses of the same networks."""
    profile = load(SITE, "branches")
    (server,) = profile.dhcp_servers

    scopes = [
        scope.model_copy(update={"lease_time": lease_time}) for scope in server.relayed_scopes
    ]
    servers = [server.model_copy(update={"relayed_scopes": tuple(scopes)})]
    if second_server is not None:
        moved = [
            scope.model_copy(update={"first": scope.first + 8192, "last": scope.last + 8192})
            for scope in scopes
        ]
        values = {"name": "dhcp02", "address": second_server, "relayed_scopes": tuple(moved)}
        servers.append(server.model_copy(update=values))
    profile = profile.model_copy(update={"dhcp_servers": tuple(servers)})
    return build_site(profile, [], run.authority, random.Random(1), time.time())


def behind(run: Run, count: int, *, has_twins: bool = False) -> list[PhoneSpec]:
    """Phones of three branches, one after the other, that only lease an address."""
    specs = []
    for number, spec in enumerate(run.specs(count, dhcp__retransmit_delays=(0.3, 0.3))):
        network = f"127.{101 + number % 3}.0"
        information = encode_relay_information(str(number).encode(), None)
        agents = [f"{network}.1", f"{network}.2"][: 1 + has_twins]
        specs.append(
            msgspec.structs.replace(
                spec,
                first_stage=Stage.IP,
                last_stage=Stage.IP,
                link=network,
                circuits=tuple(Circuit(agent, information) for agent in agents),
            )
        )
    return specs


async def boot(
    run: Run,
    specs: list[PhoneSpec],
    network: RelayNetwork,
    limits: RunLimits | None = None,
    site: Site | None = None,
    disk_for: Callable[[str], PhoneDisk] | None = None,
) -> list[str]:
    """Run them against the branches; the notes."""
    notes: list[str] = []
    fleet = run.fleet(
        specs,
        site=site or branches(run),
        disk_for=disk_for or run.disk(specs[0].profile),
        limits=limits or RunLimits(timeout=20),
        note=notes.append,
    )
    await boot_fleet(fleet, partial(open_relay, network=network, port_offset=None), run.stop)
    return notes


NETWORK = RelayNetwork(servers=("127.20.0.10",))


async def test_phones_lease_in_the_scope_of_their_relay_and_give_it_back(run: Run) -> None:
    specs = behind(run, 9)
    assert await boot(run, specs, NETWORK) == []
    assert sorted(run.observer.of(StagesDone)) == [spec.phone_id for spec in specs]
    for spec in specs:
        assert f"lease {spec.link[:-1]}16." in run.log(spec)
        assert "DHCP RELEASE" in run.log(spec)
    assert run.observer.reports == []  # the server refused nothing


async def test_doubled_requests_leave_every_phone_one_lease(run: Run) -> None:
    specs = behind(run, 9, has_twins=True)
    twice = msgspec.structs.replace(NETWORK, copies=2)
    assert await boot(run, specs, twice) == []
    assert len(run.observer.of(StagesDone)) == 9
    leased = [run.log(spec).count("DHCP lease 127.") for spec in specs]
    assert leased == [1] * 9
    assert run.log(specs[0]).count("ignored") >= 3  # the other three offers


async def test_two_servers_that_know_nothing_of_each_other_leave_every_phone_one_lease(
    run: Run,
) -> None:
    specs = behind(run, 9, has_twins=True)
    both = RelayNetwork(servers=("127.20.0.10", "127.20.0.15"), copies=2)
    site = branches(run, second_server="127.20.0.15")
    assert await boot(run, specs, both, site=site) == []
    assert len(run.observer.of(StagesDone)) == 9
    assert [run.log(spec).count("DHCP lease 127.") for spec in specs] == [1] * 9
    # One of them is told that it was not taken, and the other one gets its address back.
    assert run.observer.reports.count("the client took another server's offer") >= 9
    assert [run.log(spec).count("DHCP RELEASE") for spec in specs] == [1] * 9


async def test_a_site_without_an_answer_fails_alone(run: Run) -> None:
    silent, *rest = behind(run, 3)
    silent = msgspec.structs.replace(silent, circuits=(Circuit("127.200.0.1"),))
    await boot(run, [silent, *rest], NETWORK)
    assert sorted(run.observer.of(StagesDone)) == [spec.phone_id for spec in rest]
    assert [stage for stage, _ in run.observer.failures()] == [Stage.IP]
    assert "no scope for the relay's subnet" in run.observer.reports


async def test_a_phone_that_has_moved_is_refused_through_the_relay(run: Run) -> None:
    (spec,) = behind(run, 1)
    stays = RunLimits(timeout=20, keep_leases=True, boots=("warm",))
    site, disk_for = branches(run), cache(run.disk(spec.profile))
    await boot(run, [spec], NETWORK, stays, site, disk_for)
    moved = msgspec.structs.replace(spec, circuits=(Circuit("127.102.0.1"),))
    await boot(run, [moved], NETWORK, stays, site, disk_for)
    log = run.log(spec)
    assert "INIT-REBOOT" in log
    assert "DHCP NAK" in log
    assert "lease 127.101.16.1 " in log
    assert "lease 127.102.16.1 " in log


async def test_renewals_of_a_running_fleet_go_through_the_relay(run: Run) -> None:
    specs = behind(run, 3)
    site = branches(run, lease_time=2)
    await boot(run, specs, NETWORK, RunLimits(duration=3.5), site)
    for spec in specs:
        assert run.log(spec).count("RENEWING -> BOUND") >= 2
