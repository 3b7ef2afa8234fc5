"""The DHCP of one phone in a capture, as its log would tell it.

What a phone cannot have received is told as astray: a reply to another address or port than
the client's. Where a capture shows both sides of a relay, the phone's side counts; where it
shows the server's side alone, that does.

Specifications: RFC 2131 sections 3 and 4.1 (where a reply goes), RFC 1542 (relays).
"""

from __future__ import annotations

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.device import device_log as log
from phonesim.device.dhcp_answer import read_dhcp_answer
from phonesim.device.lease import read_lease, read_voice_vlan, server_identifier
from phonesim.errors import DecodeError
from phonesim.field.captures.captured_seen import Seen, Told, shown
from phonesim.wire.dhcp import (
    BROADCAST,
    CLIENT_PORT,
    SERVER_PORT,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    Option,
)
from phonesim.wire.pcapng import TransportAddress
from phonesim.wire.provisioning import VLAN_FORMS

_WAITS = {MessageType.INFORM: 10.0}
_LONGEST_WAIT = 40.0
"""Seconds after the last repetition of a message, after which nobody answers it any more."""
_SHORTEST_WAIT = 4.0
"""The same at the end of a capture."""
_ASKING = frozenset({MessageType.DISCOVER, MessageType.REQUEST, MessageType.INFORM})
_ANSWERS = {
    MessageType.OFFER: (MessageType.DISCOVER,),
    MessageType.ACK: (MessageType.REQUEST, MessageType.INFORM),
    MessageType.NAK: (MessageType.REQUEST, MessageType.INFORM),
}


class _Asked:
    """A message that wants an answer, and its repetitions."""

    __slots__ = ("attempts", "is_answered", "is_told", "message", "seen")

    def __init__(self, message: DhcpMessage, seen: Seen) -> None:
        self.message = message
        self.attempts = 1
        self.seen = seen
        self.is_answered = False
        self.is_told = False


class DhcpNarrator:
    """Tells the DHCP of one phone; `config` says how it reads options 43 and 120."""

    def __init__(self, config: DiscoveryConfig) -> None:
        self._config = config
        self._asked: dict[MessageType, _Asked] = {}
        self._is_relay_side: bool | None = None
        self._race_won = 0  # the xid of the INFORM whose race is over
        self.has_informed = False
        """Whether it has asked for options since its power was applied."""
        self.is_bound = False
        self.address = UNSPECIFIED
        """Its own, as DHCP says."""
        self._lease_ends = float("inf")

    def begins_anew(self, message: DhcpMessage) -> bool:
        """Whether a message is one with which a phone begins after power was applied."""
        return message.message_type is MessageType.DISCOVER or (
            message.message_type is MessageType.REQUEST
            and message.ciaddr == UNSPECIFIED
            and Option.SERVER_IDENTIFIER not in message.options
        )

    def holds(self, address: str, at: float) -> bool:
        """Whether an address is the phone's own by then."""
        return address == self.address and at < self._lease_ends

    def forget(self) -> list[Told]:
        """Begin another boot."""
        told = [each for asked in self._asked.values() for each in self._unanswered(asked)]
        self._asked.clear()
        self._race_won = 0
        self.has_informed = self.is_bound = False
        return told

    def sent(self, message: DhcpMessage, destination: str, seen: Seen) -> list[Told]:
        """Tell a message of the phone."""
        is_relayed = message.giaddr != UNSPECIFIED
        if not is_relayed:
            self._is_relay_side = False
        elif self._is_relay_side is None:
            self._is_relay_side = True
        elif not self._is_relay_side:
            return []
        kind = message.message_type
        told: list[Told] = []
        attempt = 1
        if kind in _ASKING:
            asked = self._asked.get(kind)
            if asked is not None and asked.message.xid == message.xid and not asked.is_answered:
                asked.attempts += 1
                asked.seen = seen
                attempt = asked.attempts
            else:
                told += self._unanswered(asked)
                self._asked[kind] = _Asked(message, seen)
        if kind is MessageType.INFORM:
            self.has_informed = True
            self.address = message.ciaddr
        elif kind in (MessageType.RELEASE, MessageType.DECLINE):
            self.is_bound = False
            self.address = UNSPECIFIED
        options = message.options
        told.append(
            Told(
                log.DHCP_SENT(
                    kind.name,
                    message.xid,
                    message.secs,
                    message.ciaddr,
                    destination,
                    options.get(Option.VENDOR_CLASS_IDENTIFIER, b"").decode("ascii", "replace"),
                    ",".join(map(str, options.get(Option.PARAMETER_REQUEST_LIST, b""))),
                    attempt,
                ),
                seen,
            )
        )
        return told

    def received(
        self,
        message: DhcpMessage,
        source: str,
        destination: TransportAddress,
        vlan_id: int | None,
        seen: Seen,
    ) -> list[Told]:
        """Tell a reply to the phone, which came in that VLAN."""
        kind = message.message_type
        try:
            server = server_identifier(message) or source
        except DecodeError as error:
            ignored = log.DHCP_IGNORED(kind.name, message.xid, source, str(error))
            return [Told(ignored, seen)]
        asked = self._asked_by(message)
        offered = self._offered(message, server, seen)
        if destination[1] == SERVER_PORT and destination[0] == message.giaddr != UNSPECIFIED:
            if not self._is_relay_side:
                return []  # on its way to the relay: the phone's side is seen as well
        else:
            expected = self._expected(message, asked)
            if destination[0] not in (*expected, BROADCAST) or destination[1] != CLIENT_PORT:
                astray = shown(
                    "reply_astray",
                    kind.name,
                    message.xid,
                    server,
                    f"{destination[0]}:{destination[1]}",
                    f"{expected[0]}:{CLIENT_PORT}",
                )
                return [Told(astray, seen)]
        if asked is None:
            detail = "no request with this xid is open"
            return [Told(log.DHCP_IGNORED(kind.name, message.xid, source, detail), seen), *offered]
        is_inform = asked.message.message_type is MessageType.INFORM
        wanted = asked.message.options.get(Option.SERVER_IDENTIFIER)
        detail = ""
        if not is_inform and asked.is_answered:
            detail = "not expected: an earlier answer is in use"
        elif wanted is not None and message.options.get(Option.SERVER_IDENTIFIER, wanted) != wanted:
            detail = f"from {server}, but another server was asked"
        if detail:
            return [Told(log.DHCP_IGNORED(kind.name, message.xid, source, detail), seen), *offered]
        asked.is_answered = True
        told = [
            Told(
                log.DHCP_RECEIVED(
                    kind.name,
                    message.xid,
                    server,
                    source,
                    message.yiaddr,
                    ",".join(map(str, message.options)),
                ),
                seen,
            ),
            *offered,
        ]
        if is_inform:
            return told + self._informed(message, server, seen)
        if asked.message.message_type is MessageType.REQUEST:
            return told + self._requested(asked, message, server, vlan_id, seen)
        return told

    def _offered(self, message: DhcpMessage, server: str, seen: Seen) -> list[Told]:
        """Tell what an OFFER has in it: a log has that of the lease alone which came of one."""
        if message.message_type is not MessageType.OFFER:
            return []
        try:
            lease, _ = read_lease(message, server, 0.0)
        except DecodeError:
            return []
        offer = shown(
            "offer_shown",
            lease.address,
            lease.subnet_mask,
            server,
            -1 if lease.expires_at == float("inf") else round(lease.expires_at),
            ",".join(lease.routers),
            ",".join(lease.dns_servers),
            lease.domain or "",
            ",".join(lease.ntp_servers),
        )
        return [Told(offer, seen)]

    def silence(self, now: float) -> list[Told]:
        """Tell what nobody has answered, when it has waited long enough."""
        return [
            told
            for kind, asked in self._asked.items()
            if now - asked.seen.at >= _WAITS.get(kind, _LONGEST_WAIT)
            for told in self._unanswered(asked)
        ]

    def finish(self, now: float) -> list[Told]:
        """Tell what nobody has answered when the capture ends."""
        return [
            told
            for asked in self._asked.values()
            if now - asked.seen.at >= _SHORTEST_WAIT or asked.attempts > 1
            for told in self._unanswered(asked)
        ]

    def _asked_by(self, reply: DhcpMessage) -> _Asked | None:
        for kind in _ANSWERS.get(reply.message_type, ()):
            asked = self._asked.get(kind)
            if asked is not None and asked.message.xid == reply.xid:
                return asked
        return None

    def _expected(self, reply: DhcpMessage, asked: _Asked | None) -> tuple[str, ...]:
        """Where the phone listens for a reply, apart from broadcasts."""
        ciaddr = reply.ciaddr if asked is None else asked.message.ciaddr
        expected = tuple(each for each in (ciaddr, reply.yiaddr) if each != UNSPECIFIED)
        return expected or (BROADCAST,)

    def _unanswered(self, asked: _Asked | None) -> list[Told]:
        if asked is None or asked.is_answered or asked.is_told:
            return []
        asked.is_told = True
        kind = asked.message.message_type.name
        text = f"nobody answers {asked.seen.text}"
        seen = Seen(asked.seen.number, asked.seen.at, text)
        return [Told(log.DHCP_NO_ANSWER(kind, asked.attempts), seen)]

    def _requested(
        self, asked: _Asked, reply: DhcpMessage, server: str, vlan_id: int | None, seen: Seen
    ) -> list[Told]:
        if reply.message_type is MessageType.NAK:
            self.is_bound = False
            self.address = UNSPECIFIED
            if asked.message.ciaddr == UNSPECIFIED:
                return []
            lost = log.LEASE_LOST(asked.message.ciaddr, f"NAK from {server}")
            return [Told(lost, seen)]
        try:
            lease, warnings = read_lease(reply, server, 0.0)
        except DecodeError as error:
            ignored = log.DHCP_IGNORED("ACK", reply.xid, server, str(error))
            return [Told(ignored, seen)]
        told = [Told(record, seen) for record in warnings]
        parameters = asked.message.options.get(Option.PARAMETER_REQUEST_LIST, b"")
        if vlan_id is None and Option.VENDOR_SPECIFIC_INFORMATION in parameters:
            _, records = read_voice_vlan(reply, server, VLAN_FORMS)
            told += [Told(record, seen) for record in records]
        self.is_bound = True
        self.address = lease.address
        self._lease_ends = seen.at + lease.expires_at
        forever = lease.expires_at == float("inf")
        told.append(
            Told(
                log.DHCP_LEASE(
                    lease.address,
                    lease.subnet_mask,
                    lease.server,
                    -1 if forever else round(lease.t1_at),
                    -1 if forever else round(lease.t2_at),
                    -1 if forever else round(lease.expires_at),
                    ",".join(lease.routers),
                    ",".join(lease.dns_servers),
                    lease.domain or "",
                    ",".join(lease.ntp_servers),
                ),
                seen,
            )
        )
        return told

    def _informed(self, reply: DhcpMessage, server: str, seen: Seen) -> list[Told]:
        if reply.message_type is not MessageType.ACK:
            detail = "only an ACK answers an INFORM"
            ignored = log.DHCP_IGNORED(reply.message_type.name, reply.xid, server, detail)
            return [Told(ignored, seen)]
        answer, records = read_dhcp_answer(reply, server, self._config)
        told = [Told(record, seen) for record in records]
        source = f"dhcp:{server}"
        if self._race_won == reply.xid:
            record = log.RACE_LOST(source, "ignored: an earlier answer is in use")
        elif answer.has_fqdn:
            self._race_won = reply.xid
            record = log.RACE_WON(source, "first DHCP answer with an FQDN")
        else:
            record = log.RACE_LOST(source, "ignored: no FQDN in this answer")
        return [*told, Told(record, seen)]
