"""The virtual world: phones and a mock site in simulated time, without sockets or threads.

A heap holds what will happen and when. Taking the next entry moves the clock there; an
event is handled, its actions are performed, and each performed action puts later entries
on the heap: a datagram arrives after the link's latency and jitter, or is lost; a stream
loses nothing but needs its handshake first. Machines are woken at their deadlines. All
randomness comes from the seed, so a run repeats exactly.

TLS is played by its rules: see `virtual_authority`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, assert_never

import msgspec

from phonesim.config.fleet_profile import Links
from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.identity import KEY_FILE
from phonesim.device.outcome import ConnectFailure
from phonesim.device.phone import Output, Phone
from phonesim.errors import DecodeError
from phonesim.mocksite import exchange as site_side
from phonesim.mocksite.site import Site
from phonesim.virtual_authority import (
    certificate_problem,
    certificate_refusal,
    certificate_validity,
    refused_handshake,
    valid_until,
    virtual_signature,
)
from phonesim.virtual_capture import VirtualCapture
from phonesim.virtual_handshake import VirtualClientHandshake
from phonesim.wire.dhcp import BROADCAST, CLIENT_PORT
from phonesim.world import (
    CRASH_FILE,
    Observer,
    PhoneDisk,
    PhoneSpec,
    RunLimits,
    crash_report,
    new_phone,
    prepare_disk,
)

_POWER_OFF_SECONDS = 1.0
_SHUTDOWN_SECONDS = 10.0
_EVENTS_PER_PROGRESS = 2000
_NO_LISTENER = "no server listens there"
_CLOSED = "the server closed the connection"


def _port(number: int) -> int:
    return 49152 + number % 16384


class _PhoneNode:
    """A phone in its place: its disk, its address, its open streams."""

    __slots__ = (
        "address",
        "boot",
        "closed_exchange",
        "disk",
        "exchanges",
        "handshake",
        "is_settled",
        "phone",
        "recent",
        "rounds",
        "spec",
        "streams",
        "vlan_id",
        "wake_at",
    )

    def __init__(self, spec: PhoneSpec, disk: PhoneDisk) -> None:
        self.spec = spec
        self.disk = disk
        self.boot = 0
        self.rounds = 0  # boots, and what a phone did again without one
        self.phone: Phone | None = None
        self.address: str | None = None
        self.vlan_id: int | None = None
        self.wake_at: float | None = None
        self.is_settled = False
        self.handshake: tuple[int, VirtualClientHandshake, float] | None = None
        self.streams: dict[int, _Stream] = {}
        self.exchanges: set[int] = set()
        self.closed_exchange: int | None = None  # the last one, if the server closed after it
        self.recent: deque[tuple[float, on.Event]] = deque(maxlen=16)


class _ServerNode:
    """A server in its place."""

    __slots__ = ("is_down", "name", "server", "wake_at")

    def __init__(self, name: str, server: site_side.Server) -> None:
        self.name = name
        self.server = server
        self.is_down = False
        self.wake_at: float | None = None


class _Stream:
    """An open SIP connection."""

    __slots__ = ("connection_id", "node", "server", "stream_id")

    def __init__(
        self, node: _PhoneNode, connection_id: int, server: _ServerNode, stream_id: int
    ) -> None:
        self.node = node
        self.connection_id = connection_id
        self.server = server
        self.stream_id = stream_id


class _Exchange:
    """An HTTP exchange under way."""

    __slots__ = ("boot", "exchange_id", "node", "server")

    def __init__(self, node: _PhoneNode, exchange_id: int, server: _ServerNode) -> None:
        self.node = node
        self.boot = node.boot
        self.exchange_id = exchange_id
        self.server = server


Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class _World:
    def __init__(
        self,
        specs: Sequence[PhoneSpec],
        site: Site,
        disk_for: Callable[[str], PhoneDisk],
        observer: Observer,
        limits: RunLimits,
        links: Links,
        seed: int,
        capture: VirtualCapture | None,
    ) -> None:
        self.site = site
        self.observer = observer
        self.capture = capture
        self.limits = limits
        self.rng = random.Random(f"{seed}/links")
        self.latency = links.latency
        self.jitter = links.jitter
        self.loss = links.loss
        self.now = 0.0
        self.heap: list[Entry] = []
        self.sequence = 0
        self.nodes = [_PhoneNode(spec, disk_for(spec.phone_id)) for spec in specs]
        self.by_mac = {node.spec.mac: node for node in self.nodes}
        self.by_id = {node.spec.phone_id: node for node in self.nodes}
        self.by_address: dict[str, _PhoneNode] = {}
        self.unsettled = len(self.nodes)
        self.outstanding = 0
        self.waiting: deque[_PhoneNode] = deque()
        self.is_ending = False
        self.powered = 0
        self.last_id = 0
        self.streams: dict[int, _Stream] = {}
        self.exchanges: dict[int, _Exchange] = {}
        nodes: dict[int, _ServerNode] = {}
        self.switch = None if site.switch is None else _ServerNode("switch", site.switch)
        self.dhcp: list[tuple[site_side.Listener, _ServerNode]] = []
        self.listeners: dict[tuple[str, str, int], tuple[site_side.Listener, _ServerNode]] = {}
        for listener in site.listeners:
            server = nodes.setdefault(
                id(listener.server), _ServerNode(listener.name, listener.server)
            )
            if listener.protocol == "dhcp":
                self.dhcp.append((listener, server))
            if not listener.refuses:
                key = (listener.protocol, listener.address, listener.port)
                self.listeners[key] = (listener, server)

    # --- time ---

    def at(self, when: float, perform: Callable[..., None], *arguments: Any) -> None:
        self.sequence += 1
        heappush(self.heap, (when, self.sequence, perform, arguments))

    def delay(self) -> float:
        """One way over a link."""
        return self.latency + self.jitter * self.rng.random()

    def is_lost(self) -> bool:
        return self.loss > 0 and self.rng.random() < self.loss

    def step(self) -> None:
        when, _, perform, arguments = heappop(self.heap)
        self.now = when
        perform(*arguments)

    # --- phones ---

    def arrive(self, node: _PhoneNode) -> None:
        """Start a phone, or let it wait until another one has settled."""
        limit = self.limits.outstanding
        if limit is not None and self.outstanding >= limit:
            self.waiting.append(node)
        else:
            self.outstanding += 1
            self.start(node)

    def start(self, node: _PhoneNode) -> None:
        self.at(self.now + self.limits.timeout, self.settle, node)
        self.power_on(node)

    def power_on(self, node: _PhoneNode) -> None:
        if self.is_ending:
            return
        node.boot += 1
        node.rounds += 1
        rng = random.Random(f"{node.spec.seed}/{node.boot}")
        node.phone = new_phone(node.spec, rng, certificate_validity)
        kind = self.limits.boot_kind(node.spec, node.boot)
        prepare_disk(node.disk, kind)
        node.wake_at = None
        node.vlan_id = None
        self.powered += 1
        self.observer.boot_started(node.spec.phone_id, node.rounds, self.now)
        files = node.disk.files()
        is_set = node.spec.fixed_registration is not None
        applied = on.PowerApplied(
            files=files,
            has_key=KEY_FILE in files,
            factory_reset=kind == "factory-reset",
            clock=self.site.epoch + self.now if is_set else None,
        )
        self.to_phone(node, node.boot, applied)

    def power_off(self, node: _PhoneNode) -> None:
        """Cut the power: the phone says nothing any more, its peers notice what they can."""
        if node.phone is None:
            return
        node.phone = None
        self.powered -= 1
        for stream in list(node.streams.values()):
            self.close_stream(stream)
        for exchange_id in node.exchanges:
            self.exchanges.pop(exchange_id, None)
        node.exchanges.clear()
        if node.address is not None:
            self.by_address.pop(node.address, None)
            node.address = None

    def to_phone(self, node: _PhoneNode, boot: int, event: on.Event) -> None:
        phone = node.phone
        if phone is None or node.boot != boot:
            return
        node.recent.append((self.now, event))
        if self.capture is not None:
            self.capture.received(node.spec, event, self.now)
        try:
            outputs = phone.handle(event, self.now)
        except Exception as error:  # the contract: one phone is lost, the fleet goes on
            self.crash(node, error)
            return
        self.perform(node, outputs)
        if node.phone is not None:
            self.wake_phone_at(node, phone.next_deadline())

    def wake_phone_at(self, node: _PhoneNode, deadline: tuple[float, str] | None) -> None:
        # A wake that comes too early looks again: cheaper than to withdraw it from the heap.
        if deadline is not None and (node.wake_at is None or deadline[0] < node.wake_at):
            node.wake_at = deadline[0]
            if deadline[0] != float("inf"):
                self.at(max(deadline[0], self.now), self.wake_phone, node, node.boot, deadline[0])

    def wake_phone(self, node: _PhoneNode, boot: int, planned: float) -> None:
        if node.phone is None or node.boot != boot or node.wake_at != planned:
            return
        node.wake_at = None
        deadline = node.phone.next_deadline()
        if deadline is not None and deadline[0] <= self.now:
            self.to_phone(node, boot, on.TimerExpired())
        else:
            self.wake_phone_at(node, deadline)

    def crash(self, node: _PhoneNode, error: Exception) -> None:
        node.disk.write_file(CRASH_FILE, crash_report(error, node.recent))
        self.observer.crashed(node.spec.phone_id, error, self.now)
        node.disk.settled(is_well=False)
        self.power_off(node)
        self.settle(node)

    def settle(self, node: _PhoneNode) -> None:
        if not node.is_settled:
            node.is_settled = True
            self.unsettled -= 1
            self.at(self.now, node.disk.flush)  # what waits in memory is most of a phone's size
            if self.waiting:
                self.at(self.now, self.start, self.waiting.popleft())
            else:
                self.outstanding -= 1

    def booted(self, node: _PhoneNode) -> None:
        """A boot is complete: cut the power for the next one, or leave the phone be."""
        following = self.limits.follows(node.boot)
        if following is None or self.is_ending:
            self.settled(node, is_done=True)
        elif following == "sign-out":
            self.at(self.now, self.to_phone, node, node.boot, on.SignOutRequested())
        else:
            self.reboot(node)

    def reboot(self, node: _PhoneNode) -> None:
        self.power_off(node)
        self.at(self.now + _POWER_OFF_SECONDS, self.power_on, node)

    def settled(self, node: _PhoneNode, *, is_done: bool) -> None:
        """A phone has come to its end: let it be, or let it start again when it is due."""
        self.settle(node)
        every = self.limits.repeat_every
        if every is not None and not self.is_ending:
            due_at = node.spec.starts_at + node.rounds * every
            if node.spec.fixed_lease is not None and is_done:
                self.at(max(self.now, due_at), self.repeat, node)
                return
            self.power_off(node)
            self.at(max(self.now + _POWER_OFF_SECONDS, due_at), self.power_on, node)

    def repeat(self, node: _PhoneNode) -> None:
        if node.phone is not None:
            node.rounds += 1
            self.observer.boot_started(node.spec.phone_id, node.rounds, self.now)
            self.to_phone(node, node.boot, on.RepetitionDue())

    # --- what a phone does ---

    def perform(self, node: _PhoneNode, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case do.WriteLog():
                    node.disk.append_log(output)
                case on.Observation():
                    self.observer.observe(node.spec.phone_id, output, self.now)
                    match output:
                        case on.SignedIn() | on.StagesDone():
                            node.disk.settled(is_well=True)
                            self.booted(node)
                        case on.SignedOut():
                            self.reboot(node)
                        case on.BootFailed():
                            node.disk.settled(is_well=False)
                            self.settled(node, is_done=False)
                        case on.PoweredOff():
                            self.power_off(node)
                        case _:
                            pass
                case do.SendDhcp():
                    self.send_dhcp(node, output)
                case do.SendDns():
                    self.send_dns(node, output)
                case do.SendHttp():
                    self.send_http(node, output)
                case do.SendSip():
                    self.send_sip(node, output)
                case do.WriteFile():
                    node.disk.write_file(output.name, output.data)
                case do.ProbeAddress():
                    self.probe(node, output.address)
                case do.ConfigureAddress():
                    node.address = output.address
                    self.by_address[output.address] = node
                case do.AnnounceAddress():
                    self.sent(node, output)  # nobody listens to ARP here
                case do.RemoveAddress():
                    if self.by_address.get(output.address) is node:
                        del self.by_address[output.address]
                    if node.address == output.address:
                        node.address = None
                case do.SendNtp():
                    self.send_ntp(node, output)
                case do.MakeCertificateRequest():
                    if KEY_FILE not in node.disk.files():
                        node.disk.write_file(KEY_FILE, b"virtual key\n")
                    csr = f"csr {output.subject}".encode()
                    made = on.CertificateRequestMade(subject=output.subject, csr=csr)
                    self.at(self.now, self.to_phone, node, node.boot, made)
                case do.SignWithKey():
                    signature = virtual_signature(output.subject, output.data)
                    signed = on.DataSigned(data=output.data, signature=signature)
                    self.at(self.now, self.to_phone, node, node.boot, signed)
                case do.CheckCertificate():
                    checked = on.CertificateChecked(
                        certificate=output.certificate,
                        problem=certificate_problem(output.certificate, output.subject),
                    )
                    self.at(self.now, self.to_phone, node, node.boot, checked)
                case do.OpenConnection():
                    self.open_connection(node, output)
                case do.SendKeepAlive():
                    self.keep_alive(node, output)
                case do.BeginHandshake() | do.ContinueHandshake():
                    shaken = self.shake(node, output)
                    if shaken is not None:
                        self.at(self.now, self.to_phone, node, node.boot, shaken)
                case do.CloseConnection():
                    self.sent(node, output)
                    stream = node.streams.get(output.connection_id)
                    if stream is not None:
                        self.close_stream(stream)
                case do.DeleteFile():
                    node.disk.delete_file(output.name)
                case do.AdvertiseLldp():
                    self.advertise(node, output)
                case do.JoinVlan():
                    self.sent(node, output)
                    node.vlan_id = output.vlan_id
                case _:
                    assert_never(output)

    def sent(self, node: _PhoneNode, action: do.Action) -> None:
        if self.capture is not None:
            self.capture.sent(node.spec, action, self.now)

    def attempted(
        self,
        node: _PhoneNode,
        action: do.SendHttp | do.OpenConnection,
        listener: site_side.Listener | None = None,
        server_name: str = "",
        failure: ConnectFailure = ConnectFailure.REFUSED,
    ) -> None:
        """A phone tries to connect, and will fail so: at `listener`, if one is there."""
        if self.capture is None:
            return
        handshake = None
        if listener is not None:
            if action.trust is None or failure is ConnectFailure.CHAIN_UNUSABLE:
                return  # without a chain of trust it does not even try
            version = node.spec.profile.tls.maximum_version
            handshake = refused_handshake(listener, server_name, failure, version, self.site.epoch)
        self.capture.attempted(node.spec, action, handshake, self.now)

    def probe(self, node: _PhoneNode, address: str) -> None:
        conflict = None
        other = self.by_address.get(address)
        if address in self.site.squatters:
            conflict = "02-00-00-00-00-01"
        elif other is not None and other is not node:
            conflict = other.spec.phone_id
        probed = on.AddressProbed(address=address, conflict=conflict)
        seconds = node.spec.profile.arp.probe_seconds
        self.at(self.now + seconds, self.to_phone, node, node.boot, probed)

    def send_dhcp(self, node: _PhoneNode, action: do.SendDhcp) -> None:
        self.sent(node, action)
        event = site_side.DhcpReceived(
            message=action.message, source=action.source, destination=action.destination
        )
        for listener, server in self.dhcp:
            # A broadcast goes no further than its VLAN; what has an address is routed.
            is_heard = (
                listener.on_vlan == node.vlan_id
                if action.destination == BROADCAST
                else listener.address == action.destination
            )
            if is_heard and not self.is_lost():
                self.at(self.now + self.delay(), self.to_server, server, event)

    def advertise(self, node: _PhoneNode, action: do.AdvertiseLldp) -> None:
        # Cables lose nothing here, so that repeating it would say nothing new.
        self.sent(node, action)
        if self.switch is not None:
            event = site_side.LldpAdvertised(unit=action.unit, port=node.spec.phone_id)
            self.at(self.now + self.latency, self.to_server, self.switch, event)

    def send_dns(self, node: _PhoneNode, action: do.SendDns) -> None:
        self.sent(node, action)
        found = self.listeners.get(("dns", action.server, 53))
        if found is None or (self.is_lost() and not action.over_tcp):
            return
        event = site_side.DnsReceived(
            query=action.query,
            client=f"{node.spec.phone_id} {action.server}",
            over_tcp=action.over_tcp,
        )
        handshake = 2 * self.delay() if action.over_tcp else 0.0
        self.at(self.now + handshake + self.delay(), self.to_server, found[1], event)

    def send_ntp(self, node: _PhoneNode, action: do.SendNtp) -> None:
        self.sent(node, action)
        found = self.listeners.get(("ntp", action.server, 123))
        if found is None or self.is_lost():
            return
        client = f"{node.spec.phone_id} {action.server}"
        event = site_side.NtpReceived(packet=action.packet, client=client)
        self.at(self.now + self.delay(), self.to_server, found[1], event)

    def send_http(self, node: _PhoneNode, action: do.SendHttp) -> None:
        request = action.request
        found = self.listeners.get((request.scheme, action.address, request.port))
        round_trip = 2 * self.delay()
        if found is None or found[1].is_down:
            self.attempted(node, action)
            self.http_failed(node, action, ConnectFailure.REFUSED, _NO_LISTENER, round_trip)
            return
        listener, server = found
        if action.continues is not None:
            if action.continues == node.closed_exchange:
                self.http_failed(node, action, ConnectFailure.CLOSED, _CLOSED, 0.0)
                return
            round_trip = 0.0
        elif request.scheme == "https":
            round_trip *= 3
            refused = certificate_refusal(
                listener,
                request.host,
                action.trust,
                action.clock,
                self.site.epoch,
                node.spec.profile.tls.maximum_version,
            )
            if refused is not None:
                self.attempted(node, action, listener, request.host, refused[0])
                self.http_failed(node, action, *refused, round_trip)
                return
        self.sent(node, action)
        self.last_id += 1
        exchange_id = self.last_id
        self.exchanges[exchange_id] = _Exchange(node, action.exchange_id, server)
        node.exchanges.add(exchange_id)
        first = action.exchange_id if action.continues is None else action.continues
        event = site_side.HttpReceived(
            exchange_id=exchange_id, request=request, peer=action.source, peer_port=_port(first)
        )
        self.at(self.now + round_trip + self.delay(), self.to_server, server, event)
        self.at(self.now + action.timeout, self.http_timed_out, exchange_id, action.timeout)

    def http_failed(
        self,
        node: _PhoneNode,
        action: do.SendHttp,
        failure: ConnectFailure,
        detail: str,
        after: float,
    ) -> None:
        request = action.request
        text = f"{request.host} ({action.address}:{request.port}): {detail}"
        event = on.HttpFailed(exchange_id=action.exchange_id, failure=failure, detail=text)
        self.at(self.now + after, self.to_phone, node, node.boot, event)

    def http_timed_out(self, exchange_id: int, timeout: float) -> None:
        detail = f"no answer within {timeout:.0f} s"
        self.break_off(exchange_id, ConnectFailure.TIMEOUT, detail)

    def break_off(self, exchange_id: int, failure: ConnectFailure, detail: str) -> None:
        """End an HTTP exchange without an answer, if it is still under way."""
        exchange = self.exchanges.pop(exchange_id, None)
        if exchange is None:
            return
        exchange.node.exchanges.discard(exchange_id)
        event = on.HttpFailed(exchange_id=exchange.exchange_id, failure=failure, detail=detail)
        self.to_phone(exchange.node, exchange.boot, event)

    def open_connection(self, node: _PhoneNode, action: do.OpenConnection) -> None:
        protocol = "sips" if action.transport == "tls" else "sip"
        found = self.listeners.get((protocol, action.address, action.port))
        round_trip = 2 * self.delay()
        refused = None
        if found is not None and found[1].is_down:
            found = None
        if found is None:
            refused = (ConnectFailure.REFUSED, _NO_LISTENER)
        elif protocol == "sips":
            round_trip *= 3
            refused = certificate_refusal(
                found[0],
                action.server_name,
                action.trust,
                action.clock,
                self.site.epoch,
                node.spec.profile.tls.maximum_version,
            )
        if found is None or refused is not None:
            assert refused is not None
            listener = None if found is None else found[0]
            self.attempted(node, action, listener, action.server_name, refused[0])
            failed = on.ConnectionFailed(
                connection_id=action.connection_id,
                failure=refused[0],
                detail=f"{action.address}:{action.port}: {refused[1]}",
            )
            self.at(self.now + round_trip, self.to_phone, node, node.boot, failed)
            return
        self.sent(node, action)
        self.last_id += 1
        stream = _Stream(node, action.connection_id, found[1], self.last_id)
        self.streams[stream.stream_id] = stream
        node.streams[action.connection_id] = stream
        local_port = _port(stream.stream_id)
        accepted = site_side.ConnectionAccepted(
            connection_id=stream.stream_id,
            peer=action.source,
            peer_port=local_port,
            transport=action.transport,
        )
        opened = on.ConnectionOpened(
            connection_id=action.connection_id,
            local_address=action.source,
            local_port=local_port,
        )
        self.at(self.now + round_trip, self.to_server, stream.server, accepted)
        self.at(self.now + round_trip, self.to_phone, node, node.boot, opened)

    def shake(
        self, node: _PhoneNode, action: do.BeginHandshake | do.ContinueHandshake
    ) -> on.Event | None:
        """Take a step of the phone's inner TLS handshake, which takes no time."""
        number, received = action.handshake_id, b""
        if isinstance(action, do.BeginHandshake):
            seed = f"{node.spec.seed}/{node.boot}/handshake/{number}"
            handshake = VirtualClientHandshake(seed, action.server_name, action.certificate)
            node.handshake = (number, handshake, float(valid_until(action.certificate)))
        elif node.handshake is None or node.handshake[0] != number:
            return None
        else:
            received = action.received
        _, handshake, until = node.handshake
        try:
            flight = handshake.advance(received)
        except DecodeError as error:
            node.handshake = None
            return on.HandshakeFailed(handshake_id=number, detail=str(error))
        keys = handshake.keys
        if keys is not None:
            node.handshake = None
        return on.HandshakeAdvanced(
            handshake_id=number, flight=flight, keys=keys, valid_until=until
        )

    def send_sip(self, node: _PhoneNode, action: do.SendSip) -> None:
        stream = node.streams.get(action.connection_id)
        if stream is not None:
            self.sent(node, action)
            event = site_side.SipReceived(connection_id=stream.stream_id, message=action.message)
            self.at(self.now + self.latency, self.to_server, stream.server, event)

    def keep_alive(self, node: _PhoneNode, action: do.SendKeepAlive) -> None:
        stream = node.streams.get(action.connection_id)
        if stream is not None:
            self.sent(node, action)
            event = site_side.KeepAliveReceived(connection_id=stream.stream_id)
            self.at(self.now + self.latency, self.to_server, stream.server, event)

    def close_stream(self, stream: _Stream) -> None:
        self.streams.pop(stream.stream_id, None)
        stream.node.streams.pop(stream.connection_id, None)
        lost = site_side.ConnectionLost(connection_id=stream.stream_id)
        self.at(self.now + self.latency, self.to_server, stream.server, lost)

    def drop_stream(self, stream: _Stream) -> None:
        """End a connection from the server's side."""
        self.streams.pop(stream.stream_id, None)
        node = stream.node
        node.streams.pop(stream.connection_id, None)
        closed = on.ConnectionClosed(
            connection_id=stream.connection_id, detail="closed by the server"
        )
        self.at(self.now + self.latency, self.to_phone, node, node.boot, closed)

    # --- what a server does ---

    def close_ports(self, server: _ServerNode) -> None:
        server.is_down = True
        for stream in [each for each in self.streams.values() if each.server is server]:
            self.drop_stream(stream)
            lost = site_side.ConnectionLost(connection_id=stream.stream_id)
            self.at(self.now, self.to_server, server, lost)
        for number in [each for each, its in self.exchanges.items() if its.server is server]:
            self.at(self.now + self.latency, self.break_off, number, ConnectFailure.CLOSED, _CLOSED)

    def change_certificate(self, server: _ServerNode, certificate: str) -> None:
        for key, (listener, its) in self.listeners.items():
            if its is server:
                shown = msgspec.structs.replace(listener, certificate=certificate)
                self.listeners[key] = (shown, server)

    def to_server(self, node: _ServerNode, event: site_side.ServerEvent) -> None:
        for action in node.server.handle(event, self.now):
            self.serve(node, action)
        self.wake_server_at(node)

    def wake_server_at(self, node: _ServerNode) -> None:
        deadline = node.server.next_deadline()
        if deadline is not None and (node.wake_at is None or deadline[0] < node.wake_at):
            node.wake_at = deadline[0]
            if deadline[0] != float("inf"):
                self.at(max(deadline[0], self.now), self.wake_server, node, deadline[0])

    def wake_server(self, node: _ServerNode, planned: float) -> None:
        if node.wake_at != planned:
            return
        node.wake_at = None
        deadline = node.server.next_deadline()
        if deadline is not None and deadline[0] <= self.now:
            self.to_server(node, site_side.ServerTimerExpired())
        else:
            self.wake_server_at(node)

    def serve(self, server: _ServerNode, action: site_side.ServerAction) -> None:
        match action:
            case site_side.SendDhcpReply():
                self.answer_dhcp(action)
            case site_side.SendLldp():
                node = self.by_id[action.port]
                heard = on.LldpReceived(unit=action.unit)
                self.at(self.now + self.latency, self.to_phone, node, node.boot, heard)
            case site_side.SendDnsResponse():
                phone_id, _, address = action.client.partition(" ")
                self.answer_datagram(
                    phone_id,
                    on.DnsResponseReceived(
                        response=action.response, server=address, over_tcp=action.over_tcp
                    ),
                    can_be_lost=not action.over_tcp,
                )
            case site_side.SendNtpReply():
                phone_id, _, address = action.client.partition(" ")
                received = on.NtpPacketReceived(packet=action.packet, server=address)
                self.answer_datagram(phone_id, received)
            case site_side.SendHttpResponse():
                exchange = self.exchanges.pop(action.exchange_id, None)
                if exchange is not None:
                    exchange.node.exchanges.discard(action.exchange_id)
                    closes = action.response.closes
                    exchange.node.closed_exchange = exchange.exchange_id if closes else None
                    answered = on.HttpResponseReceived(
                        exchange_id=exchange.exchange_id, response=action.response
                    )
                    self.at(
                        self.now + self.delay(),
                        self.to_phone,
                        exchange.node,
                        exchange.boot,
                        answered,
                    )
            case site_side.SendSipToClient():
                stream = self.streams.get(action.connection_id)
                if stream is not None:
                    sip = on.SipMessageReceived(
                        connection_id=stream.connection_id, message=action.message
                    )
                    node = stream.node
                    self.at(self.now + self.latency, self.to_phone, node, node.boot, sip)
            case site_side.CloseClientConnection():
                stream = self.streams.get(action.connection_id)
                if stream is not None:
                    self.drop_stream(stream)
            case site_side.ClosePorts():
                self.close_ports(server)
            case site_side.OpenPorts():
                server.is_down = False
            case site_side.ChangeCertificate():
                self.change_certificate(server, action.certificate)
            case site_side.Report():
                self.observer.report(
                    server.name, action.text, action.fields, action.is_warning, self.now
                )
            case _:
                raise TypeError(f"no world performs {type(action).__name__}")

    def answer_dhcp(self, action: site_side.SendDhcpReply) -> None:
        message = action.message
        node = self.by_mac.get(message.chaddr)
        if node is None:
            return
        reaches = action.port == CLIENT_PORT and action.destination in (
            BROADCAST,
            node.address,
            message.yiaddr,
        )
        if not reaches:
            if self.capture is not None:
                self.capture.astray(node.spec, action, self.now)
        elif not self.is_lost():
            event = on.DhcpMessageReceived(message=message, source=action.source)
            self.at(self.now + self.delay(), self.to_phone, node, node.boot, event)

    def answer_datagram(self, phone_id: str, event: on.Event, *, can_be_lost: bool = True) -> None:
        node = self.by_id[phone_id]
        if not (can_be_lost and self.is_lost()):
            self.at(self.now + self.delay(), self.to_phone, node, node.boot, event)

    # --- the run ---

    def run(self, progress: Callable[[float], bool] | None) -> float:
        limits = self.limits
        for _, server in self.listeners.values():
            self.wake_server_at(server)
        for node in self.nodes:
            self.at(node.spec.starts_at, self.arrive, node)
        end_at = float("inf") if limits.duration is None else limits.duration
        steps = 0
        goes_on = True
        heap, step = self.heap, self.step
        while heap and goes_on and heap[0][0] <= end_at:
            if self.unsettled == 0 and limits.duration is None:
                break
            step()
            steps += 1
            if steps % _EVENTS_PER_PROGRESS == 0 and progress is not None:
                goes_on = progress(self.now)
        if goes_on and limits.duration is not None:
            self.now = limits.duration  # nothing more happens until then
        ended_at = self.now
        self.shut_down()
        for node in self.nodes:
            if not node.is_settled:
                node.disk.settled(is_well=False)
            node.disk.flush()
        return ended_at

    def shut_down(self) -> None:
        self.is_ending = True
        self.waiting.clear()
        if self.limits.keep_leases:
            for node in self.nodes:
                self.power_off(node)
            return
        for node in self.nodes:
            self.to_phone(node, node.boot, on.ShutdownRequested())
        give_up_at = self.now + _SHUTDOWN_SECONDS
        while self.heap and self.powered > 0 and self.heap[0][0] <= give_up_at:
            self.step()
        for node in self.nodes:
            self.power_off(node)
        arrived_at = self.now + self.latency + self.jitter
        while self.heap and self.heap[0][0] <= arrived_at:
            self.step()  # the last RELEASEs are still on their way


def simulate(
    specs: Sequence[PhoneSpec],
    site: Site,
    disk_for: Callable[[str], PhoneDisk],
    observer: Observer,
    limits: RunLimits,
    links: Links,
    seed: int,
    progress: Callable[[float], bool] | None = None,
    capture: VirtualCapture | None = None,
) -> float:
    """Run a fleet in virtual time; returns the virtual seconds until it had settled.

    `progress` is called every so many events with the virtual time; when it returns
    False the run ends as it does at its end: phones shut down, disks flushed. `capture`
    is told what phones send and receive.
    """
    world = _World(specs, site, disk_for, observer, limits, links, seed, capture)
    seconds = world.run(progress)
    if capture is not None:
        capture.ended(world.now)
    return seconds
