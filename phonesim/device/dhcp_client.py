"""The phone's DHCP client: one machine with the eight states of RFC 2131 figure 5.

    INIT --DISCOVER--> SELECTING --OFFER--> REQUESTING --ACK, probe--> BOUND
    INIT-REBOOT --REQUEST--> REBOOTING --ACK, probe--> BOUND
    BOUND --T1--> RENEWING --T2--> REBINDING --expiry--> INIT

The first OFFER is taken; only the server that made it may then say ACK or NAK. After an
ACK the address is probed: a conflict is declined and the client begins anew. When another
host claims the address later, the client defends it or declines it, as the profile says.
A reboot asks for the old address; when no server answers, the profile says whether the rest
of the old lease is used (RFC 2131 section 3.2) or a new one is looked for.

A message that nobody answers is repeated with the profile's back-off. When DISCOVER was not
answered at all, the client takes a link-local address (`auto_ip`) and looks for a server again
in the background. So it does when servers refuse one offer after another with a NAK: RFC 2131
section 3.1 begins anew at once, which never ends where the refusals do not; so only the first
time is at once, and the next ones are with the same back-off [for this phone unknown].

While the phone seeks its voice VLAN, an ACK that names one in option 43 is all that was
wanted: its lease is released at once, unprobed, and the client waits for the phone to ask
again in that VLAN.

Renewing departs from RFC 2131 section 4.4.5 unless the profile says otherwise: the
Windows CE client broadcasts its renewals [documented ms884977, DhcpDirectRenewal=0].

Its messages are written by `dhcp_messages`.

Specifications: RFC 2131 sections 3.1, 3.2, 4.4; RFC 5227 section 2.4 (defence); device reference
section 5.
"""

from __future__ import annotations

import random

import msgspec

from phonesim.config.device_profile import DhcpClientConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    AnnounceAddress,
    ConfigureAddress,
    PhoneAction,
    ProbeAddress,
    RemoveAddress,
)
from phonesim.device.auto_ip import AutoIp
from phonesim.device.device_log import LogRecord
from phonesim.device.dhcp_messages import DhcpWriter
from phonesim.device.dhcp_states import (
    Bound,
    Init,
    InitReboot,
    Rebinding,
    Rebooting,
    Renewing,
    Requesting,
    Selecting,
    State,
    Stopped,
    Transmission,
)
from phonesim.device.events import (
    AddressClaimed,
    AddressProbed,
    AddressUnwanted,
    AddressWanted,
    AttemptEnded,
    DhcpMessageReceived,
    Event,
    ExchangeEnded,
    Lease,
    LeaseBound,
    LeaseLost,
    ShutdownRequested,
    TimerExpired,
    VlanOffered,
)
from phonesim.device.lease import read_lease, read_voice_vlan, server_identifier
from phonesim.errors import DecodeError
from phonesim.wire.dhcp import BROADCAST, UNSPECIFIED, DhcpMessage, MessageType, Option
from phonesim.wire.provisioning import VLAN_FORMS, VlanForm

Output = PhoneAction | Event | LogRecord

_MINIMUM_RENEWAL_INTERVAL = 60.0  # RFC 2131 section 4.4.5
_MAXIMUM_SECS = 0xFFFF  # the field has 16 bits, and a renewal can last for days


class DhcpClient:
    """Gets and keeps an address.

    Internal events out: LeaseBound, LeaseFailed, LeaseLost, VlanOffered.
    """

    def __init__(
        self,
        config: DhcpClientConfig,
        mac: bytes,
        rng: random.Random,
        vlan_forms: tuple[VlanForm, ...] = VLAN_FORMS,
    ) -> None:
        self._config = config
        self._vlan_forms = vlan_forms
        self._seeks_vlan = False
        self._rng = rng
        self._writer = DhcpWriter(
            mac,
            config.vendor_class,
            config.parameter_request_list,
            host_name=config.host_name,
            sends_client_identifier=config.sends_client_identifier,
            broadcast_flag=config.broadcast_flag,
            secs=config.secs,
        )
        self._auto_ip = AutoIp(config, rng)
        self._defended_at: float | None = None
        self._refusals = 0
        self.state: State = Stopped()

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case DhcpMessageReceived():
                return self._received(event.message, event.source, now)
            case TimerExpired():
                return self._timer_expired(now)
            case AddressProbed():
                return self._probed(event, now)
            case AddressClaimed():
                return self._claimed(event, now)
            case AddressWanted():
                self._seeks_vlan = event.seeks_vlan
                return self._begin(event, now)
            case AddressUnwanted() | ShutdownRequested():
                return self._shut_down(now)
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When a timer is due, and which."""
        return self.state.deadline()

    def expects(self, xid: int) -> bool:
        """Whether a message with this xid answers what the client has sent."""
        sent = self.state.sent
        return sent is not None and sent.xid == xid

    # --- beginning and ending ---

    def _begin(self, wanted: AddressWanted, now: float) -> list[Output]:
        address = wanted.cached_address
        if address is None:
            return self._discover(now)
        out = self._enter(InitReboot(address=address))
        sent = self._transmission(now)
        cached = wanted.cached_lease if self._config.reboot_keeps_lease else None
        out += self._enter(Rebooting(sent=sent, address=address, cached=cached))
        out += self._writer.request(sent, requested=address)
        return out

    def _shut_down(self, now: float) -> list[Output]:
        out: list[Output] = []
        match self.state:
            case (
                Bound(lease=Lease() as lease)
                | Renewing(lease=Lease() as lease)
                | Rebinding(lease=Lease() as lease)
                | Requesting(lease=Lease() as lease)
                | Rebooting(lease=Lease() as lease)
            ):
                if self._config.releases_on_shutdown:
                    out += self._writer.release(self._xid(), lease)
                out.append(RemoveAddress(address=lease.address))
            case _:
                pass
        out += self._give_up_asking()
        out += self._auto_ip.leave()
        return out + self._enter(Stopped())

    def _give_up_asking(self) -> list[Output]:
        """What is still in flight has had no answer: that is known at the end as well."""
        match self.state:
            case Selecting(sent=sent):
                return [_exchange("dhcp_discover", sent, None)]
            case (
                Requesting(sent=sent, lease=None)
                | Rebooting(sent=sent, lease=None)
                | Renewing(sent=sent)
                | Rebinding(sent=sent)
            ):
                return [_exchange("dhcp_request", sent, None)]
            case _:
                return []

    # --- asking ---

    def _discover(self, now: float) -> list[Output]:
        out = [] if isinstance(self.state, Init) else self._enter(Init(discover_at=now))
        sent = self._transmission(now)
        out += self._enter(Selecting(sent=sent))
        return [*out, *self._writer.discover(sent)]

    def _transmission(self, now: float) -> Transmission:
        return Transmission(
            xid=self._xid(),
            started_at=now,
            attempt=1,
            retransmit_at=now + self._delay(1),
        )

    def _again(self, sent: Transmission, now: float, secs: int) -> Transmission | None:
        if sent.attempt >= len(self._config.retransmit_delays):
            return None
        return Transmission(
            xid=sent.xid,
            started_at=sent.started_at,
            attempt=sent.attempt + 1,
            retransmit_at=now + self._delay(sent.attempt + 1),
            secs=secs,
        )

    def _xid(self) -> int:
        return self._rng.getrandbits(32)

    def _delay(self, attempt: int) -> float:
        jitter = self._config.retransmit_jitter
        delay = self._config.retransmit_delays[attempt - 1]
        return max(0.0, delay + self._rng.uniform(-jitter, jitter))

    # --- receiving ---

    def _received(self, message: DhcpMessage, source: str, now: float) -> list[Output]:
        if not self.expects(message.xid):
            return [_ignored(message, source, "no request with this xid is open")]
        try:
            server = server_identifier(message) or source
        except DecodeError as error:
            return [_ignored(message, source, str(error))]
        received = log.DHCP_RECEIVED(
            message.message_type.name,
            message.xid,
            server,
            source,
            message.yiaddr,
            ",".join(map(str, message.options)),
        )
        out: list[Output] = [received]
        match self.state, message.message_type:
            case Selecting(sent=sent), MessageType.OFFER:
                out += self._offered(sent, message, server, now)
            case (
                Requesting(lease=None, server=asked),
                (MessageType.ACK | MessageType.NAK),
            ) if server != asked and Option.SERVER_IDENTIFIER in message.options:
                return [_ignored(message, source, f"from {server}, but {asked} was asked")]
            case ((Requesting(lease=None) | Rebooting(lease=None)), MessageType.ACK):
                out += self._acknowledged(self.state, message, server, now)
            case ((Renewing() | Rebinding()), MessageType.ACK):
                out += self._extended(self.state, message, server, now)
            case Requesting(sent=sent, lease=None), MessageType.NAK:
                out.append(_exchange("dhcp_request", sent, now, server, "NAK"))
                out += self._refused(now)
            case Rebooting(sent=sent, lease=None), MessageType.NAK:
                out.append(_exchange("dhcp_request", sent, now, server, "NAK"))
                out += self._discover(now)
            case (
                (Renewing(lease=lease, sent=sent) | Rebinding(lease=lease, sent=sent)),
                MessageType.NAK,
            ):
                out.append(_exchange("dhcp_request", sent, now))
                out += self._lose(lease, f"NAK from {server}", now)
            case _:
                return [_ignored(message, source, f"not expected in {self.state.name}")]
        return out

    def _offered(
        self, sent: Transmission, offer: DhcpMessage, server: str, now: float
    ) -> list[Output]:
        if offer.yiaddr == UNSPECIFIED:
            return [_ignored(offer, server, "OFFER without an address")]
        request = Transmission(
            xid=sent.xid,
            started_at=now,
            attempt=1,
            retransmit_at=now + self._delay(1),
            secs=sent.secs,
        )
        out: list[Output] = [_exchange("dhcp_discover", sent, now, server, "OFFER")]
        out += self._enter(Requesting(sent=request, address=offer.yiaddr, server=server))
        return [*out, *self._writer.request(request, requested=offer.yiaddr, server=server)]

    def _acknowledged(
        self, state: Requesting | Rebooting, ack: DhcpMessage, server: str, now: float
    ) -> list[Output]:
        try:
            lease, warnings = read_lease(ack, server, state.sent.started_at)
        except DecodeError as error:
            return [_ignored(ack, server, str(error))]
        exchange = _exchange("dhcp_request", state.sent, now, server, "ACK")
        out: list[Output] = [*warnings, exchange]
        if self._seeks_vlan:
            vlan_id, records = read_voice_vlan(ack, server, self._vlan_forms)
            out += records
            if vlan_id is not None:
                out += self._writer.release(self._xid(), lease)
                out += self._auto_ip.leave()
                out += self._enter(Stopped())
                return [*out, VlanOffered(vlan_id=vlan_id, server=server)]
        self.state = msgspec.structs.replace(state, lease=lease, address=lease.address)
        out.append(ProbeAddress(address=lease.address))
        return out

    def _extended(
        self, state: Renewing | Rebinding, ack: DhcpMessage, server: str, now: float
    ) -> list[Output]:
        try:
            lease, warnings = read_lease(ack, server, state.sent.started_at)
        except DecodeError as error:
            return [_ignored(ack, server, str(error))]
        out: list[Output] = [
            *warnings,
            _exchange("dhcp_request", state.sent, now, server, "ACK"),
        ]
        if lease.address != state.lease.address:
            out += self._lose(state.lease, f"ACK for another address, {lease.address}", now)
            return out
        return out + self._bind(lease, is_renewal=True)

    def _probed(self, event: AddressProbed, now: float) -> list[Output]:
        match self.state:
            case Requesting(lease=Lease() as lease) | Rebooting(lease=Lease() as lease) if (
                lease.address == event.address
            ):
                if event.conflict is not None:
                    return self._decline(lease, event.conflict, now)
                return self._bind(lease, is_renewal=False)
            case Init() | Selecting() if event.address == self._auto_ip.address:
                retry = self.state.discover_at - now if isinstance(self.state, Init) else 0.0
                return [*self._auto_ip.probed(event, retry)]
            case _:
                return []

    def _claimed(self, event: AddressClaimed, now: float) -> list[Output]:
        match self.state:
            case Bound(lease=lease) | Renewing(lease=lease) | Rebinding(lease=lease):
                is_ours = lease.address == event.address
            case Init() | Selecting():
                is_ours = event.address == self._auto_ip.address
            case _:
                is_ours = False
        if not is_ours:
            return []
        conflict = log.ADDRESS_CONFLICT(event.address, event.mac)
        defence = self._config.address_defence
        since = None if self._defended_at is None else now - self._defended_at
        if defence != "never" and (since is None or since >= self._config.defend_interval):
            self._defended_at = now
            announce = AnnounceAddress(address=event.address)
            return [conflict, log.ADDRESS_DEFENDED(event.address), announce]
        if defence == "always":
            return [conflict]
        return self._give_up(event, now)

    def _give_up(self, event: AddressClaimed, now: float) -> list[Output]:
        match self.state:
            case Bound(lease=lease) | Renewing(lease=lease) | Rebinding(lease=lease):
                detail = f"conflict with {event.mac}"
                return [
                    *self._decline(lease, event.mac, now),
                    log.LEASE_LOST(lease.address, detail),
                    RemoveAddress(address=lease.address),
                    LeaseLost(address=lease.address, detail=detail),
                ]
            case _:
                return [*self._auto_ip.change(event)]

    def _decline(self, lease: Lease, conflict: str, now: float) -> list[Output]:
        out: list[Output] = [log.ADDRESS_CONFLICT(lease.address, conflict)]
        out += self._writer.decline(self._xid(), lease)
        return out + self._enter(Init(discover_at=now + self._config.decline_wait))

    def _refused(self, now: float) -> list[Output]:
        """Begin anew: at once, and then ever later, for a server can refuse all that it offers."""
        self._refusals += 1
        if self._refusals == 1:
            return self._discover(now)
        if self._refusals <= len(self._config.retransmit_delays):
            return self._enter(Init(discover_at=now + self._delay(self._refusals - 1)))
        return self._without_lease("DHCP servers refuse what they offer", now)

    def _bind(self, lease: Lease, *, is_renewal: bool) -> list[Output]:
        out: list[Output] = []
        if not is_renewal:
            self._defended_at = None
            self._refusals = 0
            out += self._auto_ip.leave()
            out.append(
                ConfigureAddress(
                    address=lease.address,
                    subnet_mask=lease.subnet_mask,
                    routers=lease.routers,
                )
            )
        out += self._enter(Bound(lease=lease))
        out.append(LeaseBound(lease=lease, is_renewal=is_renewal))
        return out

    def _lose(self, lease: Lease, detail: str, now: float) -> list[Output]:
        out: list[Output] = [
            log.LEASE_LOST(lease.address, detail),
            RemoveAddress(address=lease.address),
            LeaseLost(address=lease.address, detail=detail),
        ]
        return out + self._discover(now)

    # --- timers ---

    def _timer_expired(self, now: float) -> list[Output]:
        match self.state:
            case Init(discover_at=at) if now >= at:
                return self._discover(now)
            case Selecting(sent=sent) if now >= sent.retransmit_at:
                again = self._again(sent, now, _secs(sent, now))
                if again is None:
                    return self._no_offer(sent, now)
                self.state = Selecting(sent=again)
                return [*self._writer.discover(again), AttemptEnded(kind="dhcp_discover")]
            case Requesting(sent=sent, lease=None) if now >= sent.retransmit_at:
                return self._repeat_request(self.state, now)
            case Rebooting(sent=sent, lease=None) if now >= sent.retransmit_at:
                return self._repeat_reboot(self.state, now)
            case Bound(lease=lease) if now >= lease.t1_at:
                return self._renew(lease, now)
            case Renewing(lease=lease) if now >= lease.t2_at:
                return self._rebind(self.state, now)
            case Rebinding(lease=lease, sent=sent) if now >= lease.expires_at:
                out: list[Output] = [_exchange("dhcp_request", sent, None)]
                return out + self._lose(lease, "expired", now)
            case Renewing(sent=sent) | Rebinding(sent=sent) if now >= sent.retransmit_at:
                return self._repeat_extension(self.state, now)
            case _:
                return []

    def _repeat_request(self, state: Requesting, now: float) -> list[Output]:
        # RFC 2131 section 3.1 step 3: the secs of the DISCOVER, so that relays treat it alike.
        again = self._again(state.sent, now, state.sent.secs)
        if again is None:
            out: list[Output] = [
                log.DHCP_NO_ANSWER("REQUEST", state.sent.attempt),
                _exchange("dhcp_request", state.sent, None),
            ]
            return out + self._discover(now)
        self.state = msgspec.structs.replace(state, sent=again)
        repeated = self._writer.request(again, requested=state.address, server=state.server)
        return [*repeated, AttemptEnded(kind="dhcp_request")]

    def _repeat_reboot(self, state: Rebooting, now: float) -> list[Output]:
        again = self._again(state.sent, now, _secs(state.sent, now))
        if again is None or again.attempt > self._config.reboot_attempts:
            out: list[Output] = [
                log.DHCP_NO_ANSWER("REQUEST", state.sent.attempt),
                _exchange("dhcp_request", state.sent, None),
            ]
            cached = state.cached
            if cached is None or now >= cached.expires_at:
                return out + self._discover(now)
            self.state = msgspec.structs.replace(state, lease=cached)
            kept = log.LEASE_KEPT(cached.address, cached.expires_at - now)
            return [*out, kept, ProbeAddress(address=cached.address)]
        self.state = msgspec.structs.replace(state, sent=again)
        repeated = self._writer.request(again, requested=state.address)
        return [*repeated, AttemptEnded(kind="dhcp_request")]

    def _renew(self, lease: Lease, now: float) -> list[Output]:
        sent = self._extension(None, now, lease.t2_at)
        destination = lease.server if self._config.direct_renewal else BROADCAST
        out = self._enter(Renewing(lease=lease, sent=sent))
        return [*out, *self._writer.request(sent, lease=lease, destination=destination)]

    def _rebind(self, state: Renewing, now: float) -> list[Output]:
        out: list[Output] = [_exchange("dhcp_request", state.sent, None)]
        sent = self._extension(None, now, state.lease.expires_at)
        out += self._enter(Rebinding(lease=state.lease, sent=sent))
        return [*out, *self._writer.request(sent, lease=state.lease)]

    def _repeat_extension(self, state: Renewing | Rebinding, now: float) -> list[Output]:
        renewing = isinstance(state, Renewing)
        end_at = state.lease.t2_at if renewing else state.lease.expires_at
        sent = self._extension(state.sent, now, end_at)
        self.state = msgspec.structs.replace(state, sent=sent)
        direct = renewing and self._config.direct_renewal
        destination = state.lease.server if direct else BROADCAST
        repeated = self._writer.request(sent, lease=state.lease, destination=destination)
        return [*repeated, AttemptEnded(kind="dhcp_request")]

    def _extension(self, sent: Transmission | None, now: float, end_at: float) -> Transmission:
        # RFC 2131 section 4.4.5: half of the time that remains, and at least a minute.
        interval = max((end_at - now) / 2, _MINIMUM_RENEWAL_INTERVAL)
        return Transmission(
            xid=self._xid() if sent is None else sent.xid,
            started_at=now if sent is None else sent.started_at,
            attempt=1 if sent is None else sent.attempt + 1,
            retransmit_at=now + interval,
            secs=0 if sent is None else _secs(sent, now),
        )

    # --- without a lease ---

    def _no_offer(self, sent: Transmission, now: float) -> list[Output]:
        return [
            log.DHCP_NO_ANSWER("DISCOVER", sent.attempt),
            _exchange("dhcp_discover", sent, None),
            *self._without_lease("no DHCP server answered", now),
        ]

    def _without_lease(self, detail: str, now: float) -> list[Output]:
        retry_at = now + self._config.auto_ip_retry_interval
        self._refusals = 0
        out = self._enter(Init(discover_at=retry_at))
        return [*out, *self._auto_ip.take(detail)]

    # --- states ---

    def _enter(self, state: State) -> list[Output]:
        record = log.DHCP_STATE(self.state.name, state.name)
        self.state = state
        return [record]


def _ignored(message: DhcpMessage, source: str, detail: str) -> LogRecord:
    return log.DHCP_IGNORED(message.message_type.name, message.xid, source, detail)


def _secs(sent: Transmission, now: float) -> int:
    return min(int(now - sent.started_at), _MAXIMUM_SECS)


def _exchange(
    kind: str,
    sent: Transmission,
    answered_at: float | None,
    server: str | None = None,
    answer: str = "",
) -> ExchangeEnded:
    seconds = None if answered_at is None else answered_at - sent.started_at
    return ExchangeEnded(
        kind=kind, sent=sent.attempt, seconds=seconds, server=server, answer=answer
    )
