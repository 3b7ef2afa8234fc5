"""The phone's clock: what time it believes, and the stage that asks NTP.

At power-on the clock shows the profile's time; certificates are checked against what
it believes. The sources are tried in the profile's order until one answers: option 42,
the SRV record `_ntp._udp` with its targets by priority, option 4, the name time.windows.com.
An answer to an earlier packet of the same server counts as well: a slow network does not
cost the time. Without an answer the boot goes on with the wrong time, and fails where a
certificate is checked, unless the profile stops it there; the log says what each source
came to.

Specifications: RFC 4330 section 5 (SNTP client), device reference section 7.
"""

from __future__ import annotations

import msgspec

from phonesim.config.device_profile import ClockConfig
from phonesim.device import device_log as log
from phonesim.device.actions import PhoneAction, SendNtp
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    ClockSet,
    Event,
    ExchangeEnded,
    Lease,
    LookupAnswered,
    LookupRequested,
    NtpPacketReceived,
    PowerApplied,
    TimerExpired,
    TimeWanted,
    WorkAbandoned,
)
from phonesim.wire import ntp
from phonesim.wire.dns import SrvData

Output = PhoneAction | Event | LogRecord


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing asked."""


class Resolving(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A source's server name is being looked up."""

    lookup_id: str


class Querying(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Packets are on their way to `server`: the timestamp of each, which its answer echoes, and
    when it was sent.
    """

    server: str
    sent: tuple[tuple[int, float], ...]
    started_at: float
    retransmit_at: float


State = Idle | Resolving | Querying


class PhoneClock:
    """Believed time, and the time stage. Event out: `ClockSet`."""

    def __init__(self, config: ClockConfig) -> None:
        self._config = config
        self._offset = 0.0
        self._lease: Lease | None = None
        self._sources: list[str] = []
        self._servers: list[str] = []
        self._names: list[str] = []
        self._came_to: list[str] = []
        self.state: State = Idle()

    def believed(self, now: float) -> float:
        """The wall time that the phone believes, Unix seconds."""
        return now + self._offset

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case TimeWanted():
                self._lease = event.lease
                self._sources = list(self._config.sources)
                self._servers = []
                self._names = []
                self._came_to = []
                return self._next_server(now)
            case NtpPacketReceived():
                return self._received(event, now)
            case LookupAnswered():
                return self._looked_up(event, now)
            case TimerExpired():
                return self._timer_expired(now)
            case PowerApplied():
                self._power_on(event.clock, now)
                return []
            case WorkAbandoned():
                self.state = Idle()
                return []
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When the NTP packet is repeated."""
        match self.state:
            case Querying(retransmit_at=at):
                return at, "repeat the NTP packet"
            case _:
                return None

    def _power_on(self, typed: float | None, now: float) -> None:
        """Start counting: from the profile's time, or the Unix time that was typed in."""
        shown = self._config.power_on.timestamp() if typed is None else typed
        self._offset = shown - now

    def _next_server(self, now: float) -> list[Output]:
        while not self._servers:
            lookup = None
            if self._names:
                name = self._names.pop(0)
                lookup = LookupRequested(lookup_id="clock:a", qname=name, qtype="A")
            elif self._sources:
                lookup = self._open_source(self._sources.pop(0))
            else:
                self.state = Idle()
                why = "; ".join(self._came_to) or "there is nobody to ask"
                return [log.CLOCK_NOT_SET(why), ClockSet(offset=None)]
            if lookup is not None:
                self.state = Resolving(lookup_id=lookup.lookup_id)
                return [lookup]
        return self._query(self._servers.pop(0), now, started_at=now, sent=())

    def _open_source(self, source: str) -> LookupRequested | None:
        assert self._lease is not None
        match source:
            case "ntp-servers":
                self._servers = list(self._lease.ntp_servers)
                if not self._servers:
                    self._came_to.append("no option 42")
            case "time-servers":
                self._servers = list(self._lease.time_servers)
                if not self._servers:
                    self._came_to.append("no option 4")
            case "srv" if self._lease.domain is not None:
                return LookupRequested(
                    lookup_id="clock:srv", qname=f"_ntp._udp.{self._lease.domain}", qtype="SRV"
                )
            case "time.windows.com":
                return LookupRequested(lookup_id="clock:a", qname="time.windows.com", qtype="A")
            case _:
                self._came_to.append("no domain for _ntp._udp")
        return None

    def _looked_up(self, event: LookupAnswered, now: float) -> list[Output]:
        if not isinstance(self.state, Resolving) or self.state.lookup_id != event.lookup_id:
            return []
        if event.qtype == "SRV":
            targets = [r.data for r in event.records if isinstance(r.data, SrvData)]
            targets = sorted((t for t in targets if t.target), key=lambda t: t.priority)
            self._names = [target.target for target in targets]
        else:
            self._servers = [str(record.data) for record in event.records]
        if not self._names and not self._servers:
            self._came_to.append(f"{event.qtype} {event.qname}: {event.rcode}, no record")
        return self._next_server(now)

    def _query(
        self, server: str, now: float, *, started_at: float, sent: tuple[tuple[int, float], ...]
    ) -> list[Output]:
        assert self._lease is not None
        transmit = ntp.from_unix(self.believed(now))
        self.state = Querying(
            server=server,
            sent=(*sent, (transmit, now)),
            started_at=started_at,
            retransmit_at=now + self._config.attempt_timeouts[len(sent)],
        )
        packet = ntp.NtpPacket(mode=ntp.CLIENT, transmit=transmit)
        return [
            log.NTP_SENT(server, len(sent) + 1),
            SendNtp(packet=packet, source=self._lease.address, server=server),
        ]

    def _received(self, event: NtpPacketReceived, now: float) -> list[Output]:
        state, packet = self.state, event.packet
        # RFC 4330 section 5: the checks that make an answer ours and usable.
        if not isinstance(state, Querying) or event.server != state.server:
            return [log.NTP_IGNORED(event.server, "no packet to this server is open")]
        sent_at = dict(state.sent).get(packet.originate)
        if packet.mode != ntp.SERVER or sent_at is None:
            return [log.NTP_IGNORED(event.server, "it does not answer an open packet")]
        if not 0 < packet.stratum < 16 or packet.transmit == 0 or packet.leap == 3:
            return [
                log.NTP_IGNORED(event.server, "the server is not synchronised"),
                ExchangeEnded(kind="ntp", sent=len(state.sent), seconds=now - state.started_at),
                *self._pass_over(f"{event.server}: not synchronised", now),
            ]
        t1, t4 = self.believed(sent_at), self.believed(now)
        t2, t3 = ntp.to_unix(packet.receive), ntp.to_unix(packet.transmit)
        offset = ((t2 - t1) + (t3 - t4)) / 2
        self._offset += offset
        self.state = Idle()
        return [
            ExchangeEnded(kind="ntp", sent=len(state.sent), seconds=now - state.started_at),
            log.CLOCK_SET(event.server, offset),
            ClockSet(offset=offset, server=event.server),
        ]

    def _timer_expired(self, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, Querying) or now < state.retransmit_at:
            return []
        if len(state.sent) < len(self._config.attempt_timeouts):
            return self._query(state.server, now, started_at=state.started_at, sent=state.sent)
        return [
            ExchangeEnded(kind="ntp", sent=len(state.sent), seconds=None),
            *self._pass_over(f"{state.server}: no answer", now),
        ]

    def _pass_over(self, why: str, now: float) -> list[Output]:
        self._came_to.append(why)
        return self._next_server(now)
