"""Discovery: where are the Web Services and the Registrar? The INFORM and DNS race.

INFORM and the SRV queries start together. The first DHCP answer that carries an FQDN
wins and all others are ignored, but cached. DNS counts only where no DHCP answer
carried what is needed: for everything when no answer had an FQDN, for the Web Services
when the winner had no usable option 43, for the Registrar when it had no option 120.
When an answer came without an FQDN the phone still waits a little for a better one;
when none came, INFORM is repeated until the profile's delays are used up.

With the policy `interleaved` both sides are waited for, and the Registrars are put in
the order of article gg398713 instead: internal DNS (TLS), DHCP (TLS), internal DNS
(TCP), external DNS (TLS), external DNS (TCP).

Specifications: RFC 2131 sections 3.4 and 4.4.3 (INFORM), RFC 3361 (option 120),
RFC 2782 (SRV), device reference sections 1, 6 and 8.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import msgspec

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.device import device_log as log
from phonesim.device.actions import PhoneAction
from phonesim.device.device_log import LogRecord
from phonesim.device.dhcp_answer import DhcpAnswer, read_dhcp_answer
from phonesim.device.dhcp_messages import DhcpWriter
from phonesim.device.events import (
    DhcpAnswerKept,
    DhcpMessageReceived,
    DiscoveryWanted,
    DnsAnswerKept,
    Event,
    ExchangeEnded,
    Lease,
    LookupAnswered,
    LookupRequested,
    RegistrarAddress,
    ServicesLocated,
    TimerExpired,
    WebServicesAddress,
    WorkAbandoned,
)
from phonesim.device.lease import server_identifier
from phonesim.errors import DecodeError
from phonesim.wire.dhcp import MessageType
from phonesim.wire.dns import SrvData

Output = PhoneAction | Event | LogRecord


class _Race(msgspec.Struct, kw_only=True):
    """One run of the race. `give_up_at` is when DHCP has lost, if nothing better comes."""

    lease: Lease
    domain: str | None
    xid: int
    started_at: float
    attempt: int
    inform_at: float | None
    give_up_at: float | None = None
    is_answered: bool = False
    winner: DhcpAnswer | None = None
    dhcp_is_over: bool = False
    waiting: set[str]
    srv: dict[str, tuple[SrvData, ...]]
    asks_fallback: bool = False
    fallback: dict[str, bool]
    is_over: bool = False


class Discovery:
    """Takes `DiscoveryWanted`, gives `ServicesLocated`, and what is to be cached."""

    def __init__(self, config: DiscoveryConfig, mac: bytes, rng: random.Random) -> None:
        self._config = config
        self._mac = mac
        self._rng = rng
        self._race: _Race | None = None

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case DhcpMessageReceived():
                return self._informed(event, now)
            case LookupAnswered():
                return self._looked_up(event, now)
            case TimerExpired():
                return self._timer_expired(now)
            case DiscoveryWanted():
                return self._begin(event.lease, now)
            case WorkAbandoned():
                self._race = None
                return []
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When INFORM is repeated, or DHCP is given up."""
        race = self._race
        if race is None or race.dhcp_is_over or race.is_over:
            return None
        if race.give_up_at is not None:
            return race.give_up_at, "give DHCP up"
        assert race.inform_at is not None
        return race.inform_at, "repeat INFORM"

    def expects(self, xid: int) -> bool:
        """Whether a DHCP message with this xid answers the INFORM, late ones included."""
        return self._race is not None and self._race.xid == xid

    # --- sending ---

    def _begin(self, lease: Lease, now: float) -> list[Output]:
        config = self._config
        given = lease.domain if config.domain == "dhcp" else None
        domain = given or config.sip_domain
        asks_dhcp = config.asks_dhcp
        race = _Race(
            lease=lease,
            domain=domain,
            xid=self._rng.getrandbits(32),
            started_at=now,
            attempt=1,
            inform_at=now + config.inform_delays[0],
            dhcp_is_over=not asks_dhcp,
            waiting=set(),
            srv={},
            fallback={},
        )
        self._race = race
        asked = "INFORM and DNS SRV are asked together"
        if not asks_dhcp:
            asked = "DNS SRV is asked, and DHCP is not"
        elif domain is None:
            asked = "INFORM is asked, and DNS is not, for want of a domain"
        out: list[Output] = [
            log.DISCOVERY_STARTED(domain or "", f"no usable cache: {asked}"),
        ]
        if asks_dhcp:
            out += self._send_inform(race)
        if domain is not None:
            for name in config.srv_names:
                qname = name.qname.format(domain=domain)
                race.waiting.add(qname)
                out.append(
                    LookupRequested(lookup_id=f"discovery:{qname}", qname=qname, qtype="SRV")
                )
        return out + self._conclude(race)

    def _send_inform(self, race: _Race) -> list[Output]:
        config = self._config
        writer = DhcpWriter(self._mac, config.inform_class, config.inform_parameter_request_list)
        return [*writer.inform(race.xid, race.lease.address, race.attempt)]

    def _timer_expired(self, now: float) -> list[Output]:
        race, deadline = self._race, self.next_deadline()
        if race is None or deadline is None or now < deadline[0]:
            return []
        if race.give_up_at is None and race.attempt < len(self._config.inform_delays):
            race.attempt += 1
            race.inform_at = now + self._config.inform_delays[race.attempt - 1]
            return self._send_inform(race)
        race.dhcp_is_over = True
        out: list[Output] = []
        if not race.is_answered:
            out.append(log.DHCP_NO_ANSWER("INFORM", race.attempt))
            out.append(ExchangeEnded(kind="dhcp_inform", sent=race.attempt, seconds=None))
        return out + self._conclude(race)

    # --- DHCP answers ---

    def _informed(self, event: DhcpMessageReceived, now: float) -> list[Output]:
        race, message = self._race, event.message
        if race is None:
            return []
        try:
            server = server_identifier(message) or event.source
        except DecodeError as error:
            name = message.message_type.name
            return [log.DHCP_IGNORED(name, message.xid, event.source, str(error))]
        out: list[Output] = [
            log.DHCP_RECEIVED(
                message.message_type.name,
                message.xid,
                server,
                event.source,
                message.yiaddr,
                ",".join(map(str, message.options)),
            )
        ]
        if message.message_type is not MessageType.ACK:
            name = message.message_type.name
            out.append(log.DHCP_IGNORED(name, message.xid, server, "only an ACK answers an INFORM"))
            return out
        if not race.is_answered:
            race.is_answered = True
            out.append(
                ExchangeEnded(
                    kind="dhcp_inform",
                    sent=race.attempt,
                    seconds=now - race.started_at,
                    server=server,
                    answer="ACK",
                )
            )
        answer, records = read_dhcp_answer(message, server, self._config)
        out += records
        if answer.has_fqdn:
            out.append(
                DhcpAnswerKept(
                    server=server, web_services=answer.web_services, registrars=answer.registrars
                )
            )
        source = f"dhcp:{server}"
        if race.is_over or race.winner is not None:
            out.append(log.RACE_LOST(source, "ignored: an earlier answer is in use"))
            return out
        if not answer.has_fqdn:
            out.append(log.RACE_LOST(source, "ignored: no FQDN in this answer"))
            if race.give_up_at is None and not race.dhcp_is_over:
                race.give_up_at = now + self._config.answer_window
            return out
        race.winner = answer
        race.dhcp_is_over = True
        out.append(log.RACE_WON(source, "first DHCP answer with an FQDN"))
        return out + self._conclude(race)

    # --- DNS answers ---

    def _looked_up(self, event: LookupAnswered, now: float) -> list[Output]:
        race = self._race
        if race is None:
            return []
        if race.is_over:
            if event.records:
                return [log.RACE_LOST(f"dns:{event.qname}", "ignored: a DHCP answer is in use")]
            return []
        race.waiting.discard(event.lookup_id.partition(":")[2])
        if event.qtype == "SRV":
            # RFC 2782: a target of "." says that the service is decidedly not available.
            race.srv[event.lookup_id.partition(":")[2]] = tuple(
                record.data
                for record in event.records
                if isinstance(record.data, SrvData) and record.data.target
            )
        else:
            race.fallback[event.lookup_id.partition(":")[2]] = bool(event.records)
        return self._conclude(race)

    # --- the decision ---

    def _conclude(self, race: _Race) -> list[Output]:
        """End the race if everything that can still change its result is in."""
        if not race.dhcp_is_over:
            return []
        winner = race.winner
        dhcp_suffices = (
            winner is not None
            and winner.web_services is not None
            and bool(winner.registrars)
            and self._config.registrar_order == "first-dhcp-answer"
        )
        out: list[Output] = []
        from_dns: tuple[RegistrarAddress, ...] = ()
        if not dhcp_suffices:
            if race.waiting:
                return []
            if not race.asks_fallback and not any(race.srv.values()) and race.domain is not None:
                return self._ask_fallback(race)
            from_dns = self._dns_registrars(race)
            if winner is None and from_dns:
                asked = self._config.asks_dhcp
                detail = "no DHCP answer carried an FQDN" if asked else "DHCP is not asked"
                out.append(log.RACE_WON(from_dns[0].source, detail))
        race.is_over = True
        if winner is None or not winner.registrars:
            registrars = from_dns
        elif self._config.registrar_order == "interleaved":
            registrars = interleave_registrars(from_dns, winner.registrars, self._internal(race))
        else:
            registrars = winner.registrars
        web_services = None if winner is None else winner.web_services
        if web_services is None and from_dns and self._config.web_services_fallback == "dns":
            web_services = WebServicesAddress(
                scheme="https",
                host=from_dns[0].host,
                port=443,
                path=self._config.cert_prov_rel_path,
                source=from_dns[0].source,
            )
        sources = {registrar.source for registrar in from_dns}
        if sources & {found.source for found in (web_services, *registrars) if found is not None}:
            out.append(DnsAnswerKept(registrars=from_dns))
        why_not = ""
        if web_services is None:
            why_not = self._why_not(race, 43)
            out.append(log.WEB_SERVICES_NOT_LOCATED(why_not))
        else:
            out.append(log.WEB_SERVICES_LOCATED(web_services.url, web_services.source))
        if not registrars:
            missing = self._why_not(race, 120)
            why_not = why_not or missing
            out.append(log.REGISTRAR_NOT_LOCATED(missing))
        for order, registrar in enumerate(registrars, 1):
            out.append(
                log.REGISTRAR_LOCATED(
                    order,
                    f"{registrar.host}:{registrar.port}",
                    registrar.transport,
                    registrar.source,
                )
            )
        located = ServicesLocated(web_services=web_services, registrars=registrars, why_not=why_not)
        out.append(located)
        return out

    def _ask_fallback(self, race: _Race) -> list[Output]:
        race.asks_fallback = True
        out: list[Output] = []
        for name in self._config.fallback_names:
            qname = name.qname.format(domain=race.domain)
            race.waiting.add(qname)
            out.append(LookupRequested(lookup_id=f"discovery:{qname}", qname=qname, qtype="A"))
        return out or self._conclude(race)

    def _dns_registrars(self, race: _Race) -> tuple[RegistrarAddress, ...]:
        found: list[RegistrarAddress] = []
        for name in self._config.srv_names:
            qname = name.qname.format(domain=race.domain)
            for target in order_targets(race.srv.get(qname, ()), self._rng):
                found.append(
                    RegistrarAddress(
                        host=target.target,
                        port=target.port,
                        transport=name.transport,
                        source=f"dns:{qname}",
                    )
                )
        if not found:
            for fallback in self._config.fallback_names:
                qname = fallback.qname.format(domain=race.domain)
                if race.fallback.get(qname):
                    found.append(
                        RegistrarAddress(
                            host=qname, port=fallback.port, transport="tls", source=f"dns:{qname}"
                        )
                    )
        return tuple(found)

    def _internal(self, race: _Race) -> frozenset[str]:
        return frozenset(
            f"dns:{name.qname.format(domain=race.domain)}"
            for name in self._config.srv_names
            if name.scope == "internal"
        )

    def _why_not(self, race: _Race, option: int) -> str:
        if not self._config.asks_dhcp:
            dhcp = "DHCP is not asked"
        elif not race.is_answered:
            dhcp = "no DHCP server answered the INFORM"
        elif race.winner is None:
            dhcp = "no DHCP answer carried an FQDN"
        else:
            dhcp = f"the DHCP answer of {race.winner.server} has no usable option {option}"
        if race.domain is None:
            dns = "no domain to ask DNS for"
        elif self._dns_registrars(race):
            dns = "the DNS answer is not used for it"
        else:
            dns = f"DNS has no record for a Registrar of {race.domain}"
        return f"{dhcp}; {dns}"


def order_targets(targets: Iterable[SrvData], rng: random.Random) -> list[SrvData]:
    """Put SRV targets in the order of RFC 2782: by priority, then at random by weight."""
    ordered: list[SrvData] = []
    by_priority: dict[int, list[SrvData]] = {}
    for target in targets:
        by_priority.setdefault(target.priority, []).append(target)
    for priority in sorted(by_priority):
        # Weight 0 goes first, so that it has a small chance of being chosen.
        group = sorted(by_priority[priority], key=lambda target: target.weight)
        while len(group) > 1:
            chosen = rng.randint(0, sum(target.weight for target in group))
            running = 0
            for index, target in enumerate(group):
                running += target.weight
                if running >= chosen:
                    ordered.append(group.pop(index))
                    break
        ordered += group
    return ordered


def interleave_registrars(
    from_dns: Sequence[RegistrarAddress],
    from_dhcp: Sequence[RegistrarAddress],
    internal: frozenset[str],
) -> tuple[RegistrarAddress, ...]:
    """Put Registrars in the order of article gg398713; `internal` are the internal DNS sources."""
    ranked = [
        (from_dns, "tls", True),
        (from_dhcp, "tls", None),
        (from_dns, "tcp", True),
        (from_dhcp, "tcp", None),
        (from_dns, "tls", False),
        (from_dns, "tcp", False),
    ]
    return tuple(
        registrar
        for group, transport, is_internal in ranked
        for registrar in group
        if registrar.transport == transport
        and (is_internal is None or (registrar.source in internal) is is_internal)
    )
