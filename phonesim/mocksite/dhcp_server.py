"""A DHCP server: scopes of addresses, their options, and those that tell phones where to sign in.

Leases end by the clock, not by a timer: an address whose lease is over stays with
its client until the pool has no fresh address left, and then the one that has been
free for longest goes first (RFC 2131 section 4.3.1). Replies hold what option 55
asked for, in its order, after what a Windows DHCP server sends in any case.
Option 43 goes to one vendor class only, option 120 to whoever asks for it.

A client behind a relay agent gets its address from the scope that has the giaddr in its
subnet, and its option 82 is sent back unread.

Without a scope the server is the responder of a Lync Registrar: it answers the
INFORM of its vendor class and nothing else.

Specifications: RFC 2131 sections 4.1 (where replies go) and 4.3 (server behaviour),
RFC 2132, RFC 3046 section 2.2 (option 82); device reference sections 4 (VLAN) and 6 (INFORM).
"""

from __future__ import annotations

from heapq import heappop, heappush

import msgspec

from phonesim.config.site_profile import DhcpServerConfig, Scope, SignInOptions
from phonesim.mocksite.exchange import (
    DhcpReceived,
    MalformedArrived,
    Report,
    SendDhcpReply,
    ServerAction,
    ServerEvent,
)
from phonesim.wire.dhcp import (
    BOOTREPLY,
    BOOTREQUEST,
    BROADCAST,
    BROADCAST_FLAG,
    CLIENT_PORT,
    SERVER_PORT,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    Option,
    encode_addresses,
    encode_u32,
    format_mac,
)
from phonesim.wire.domain_search import encode_domain_search
from phonesim.wire.ipv4 import pack_address, unpack_address
from phonesim.wire.provisioning import UcOptions, encode_sip_servers, encode_uc_options

OFFER_TIME = 60.0
"""Seconds for which an offered address is kept for its client."""
DECLINED_TIME = 3600.0
"""Seconds for which an address that a client found in use is not given out."""
VLAN_CLASSES = (b"CPE-OCPHONE", b"CPE-OCPhone")
"""Option 60 of the VLAN request; the case differs by source [documented]."""

_REMEMBERED_REPLIES = 256
_VLAN_SUB_OPTION = 10


class _Lease(msgspec.Struct, gc=False):
    """An address and whose it is; `listed_at` is the time of its entry in the queue."""

    client: bytes
    number: int
    octets: bytes
    address: str
    expires_at: float
    listed_at: float
    is_bound: bool = False


class DhcpServer:
    """The server. `config` says what it leases and tells."""

    def __init__(self, config: DhcpServerConfig) -> None:
        self._address = str(config.address)
        self._identifier = pack_address(self._address)
        self._is_authoritative = config.authoritative
        self._sign_in_class = config.sign_in_class.encode()
        self._uc_options = _uc_options(config.sign_in)
        self._sip_servers = (
            encode_sip_servers(config.sign_in.registrars) if config.sign_in.registrars else None
        )
        self._vlan_options = _vlan_options(config)
        self._pool = _Pool(config.scope) if config.scope else None
        self._pools = [_Pool(scope) for scope in config.relayed_scopes]
        if self._pool is not None:
            self._pools.insert(0, self._pool)
        self._replies: dict[
            tuple[MessageType, _Pool | None, bool, bytes, bytes], dict[int, bytes]
        ] = {}

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        if isinstance(event, DhcpReceived):
            message = event.message
            if message.op != BOOTREQUEST:
                return [_refusal("a message that is no BOOTREQUEST is dropped", message)]
            kind = message.message_type
            if kind is MessageType.INFORM:
                return self._inform(event)
            pool = self._pool_for(message)
            if pool is None:
                is_missed = self._pools and message.giaddr != UNSPECIFIED
                return [_refusal("no scope for the relay's subnet", message)] if is_missed else []
            if kind is MessageType.DISCOVER:
                return self._discover(message, pool, now)
            if kind is MessageType.REQUEST:
                return self._request(event, pool, now)
            if kind is MessageType.RELEASE:
                return self._release(message, pool, now)
            if kind is MessageType.DECLINE:
                return self._decline(message, pool, now)
            return [_refusal(f"a server's {kind.name} is dropped", message)]
        if isinstance(event, MalformedArrived):
            return [
                Report(
                    text="malformed DHCP message",
                    fields=(("source", event.source), ("reason", event.reason)),
                )
            ]
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        """Return None: leases end when somebody asks for their address."""
        return None

    def _pool_for(self, message: DhcpMessage) -> _Pool | None:
        """The addresses for where a client is: behind a relay agent, or on the server's network.

        What comes without a relay agent can be unicast from behind one.
        """
        if message.giaddr != UNSPECIFIED:
            return self._pool_with(message.giaddr)
        if message.ciaddr != UNSPECIFIED:
            return self._pool_with(message.ciaddr) or self._pool
        return self._pool

    def _pool_with(self, address: str) -> _Pool | None:
        octets = pack_address(address)
        return next((pool for pool in self._pools if pool.is_on_subnet(octets)), None)

    def _discover(self, message: DhcpMessage, pool: _Pool, now: float) -> list[ServerAction]:
        client = message.options.get(Option.CLIENT_IDENTIFIER) or message.chaddr
        lease = pool.lease_for(client, message.options.get(Option.REQUESTED_IP_ADDRESS), now)
        if lease is None:
            return [_refusal("the address pool is exhausted", message)]
        return [self._reply(message, MessageType.OFFER, pool, lease.address, UNSPECIFIED)]

    def _request(self, event: DhcpReceived, pool: _Pool, now: float) -> list[ServerAction]:
        """Tell the four kinds of REQUEST apart by RFC 2131 section 4.3.2, table 4."""
        message = event.message
        options = message.options
        client = options.get(Option.CLIENT_IDENTIFIER) or message.chaddr
        requested = options.get(Option.REQUESTED_IP_ADDRESS)
        identifier = options.get(Option.SERVER_IDENTIFIER)
        lease = pool.by_client.get(client)
        if identifier is not None:
            if identifier != self._identifier:
                if lease is None or lease.is_bound:
                    return []
                pool.free(lease, now)
                text = "the client took another server's offer"
                return [Report(text=text, fields=_who(message), is_warning=False)]
            if requested is None or message.ciaddr != UNSPECIFIED:
                return [_refusal("REQUEST in SELECTING without one clear address", message)]
            if lease is None or lease.octets != requested:
                return self._nak(message, "the requested address was not offered")
            return self._ack(message, pool, lease, now)
        if requested is not None:
            if message.ciaddr != UNSPECIFIED:
                return [_refusal("REQUEST with both option 50 and ciaddr", message)]
            if len(requested) != 4:
                return [_refusal("option 50 is not 4 octets", message)]
            if not pool.is_on_subnet(requested):
                return self._nak(message, "the requested address is on another network")
            return self._verify(message, "INIT-REBOOT", pool, lease, requested, now)
        if message.ciaddr == UNSPECIFIED:
            return [_refusal("REQUEST without an address", message)]
        state = "RENEWING" if event.destination == self._address else "REBINDING"
        return self._verify(message, state, pool, lease, pack_address(message.ciaddr), now)

    def _verify(
        self,
        message: DhcpMessage,
        state: str,
        pool: _Pool,
        lease: _Lease | None,
        claimed: bytes,
        now: float,
    ) -> list[ServerAction]:
        if lease is None:
            if self._is_authoritative:
                return self._nak(message, "no lease is known")
            return [_refusal(f"REQUEST in {state} of an unknown client", message)]
        if lease.octets != claimed:
            return self._nak(message, f"the lease is for {lease.address}")
        return self._ack(message, pool, lease, now)

    def _ack(
        self, message: DhcpMessage, pool: _Pool, lease: _Lease, now: float
    ) -> list[ServerAction]:
        lease.is_bound = True
        lease.expires_at = now + pool.lease_time
        return [self._reply(message, MessageType.ACK, pool, lease.address, message.ciaddr)]

    def _nak(self, message: DhcpMessage, reason: str) -> list[ServerAction]:
        is_relayed = message.giaddr != UNSPECIFIED
        reply = DhcpMessage(
            op=BOOTREPLY,
            message_type=MessageType.NAK,
            xid=message.xid,
            chaddr=message.chaddr,
            flags=message.flags | BROADCAST_FLAG if is_relayed else message.flags,
            giaddr=message.giaddr,
            options={
                Option.DHCP_MESSAGE_TYPE: bytes((MessageType.NAK,)),
                Option.SERVER_IDENTIFIER: self._identifier,
                Option.MESSAGE: reason.encode(),
                **_sent_back(message),
            },
        )
        return [
            SendDhcpReply(
                message=reply,
                source=self._address,
                destination=message.giaddr if is_relayed else BROADCAST,
                port=SERVER_PORT if is_relayed else CLIENT_PORT,
            ),
            _refusal(f"NAK: {reason}", message),
        ]

    def _release(self, message: DhcpMessage, pool: _Pool, now: float) -> list[ServerAction]:
        if message.options.get(Option.SERVER_IDENTIFIER) != self._identifier:
            return []
        client = message.options.get(Option.CLIENT_IDENTIFIER) or message.chaddr
        lease = pool.by_client.get(client)
        if lease is None or lease.address != message.ciaddr:
            return [_refusal("RELEASE of an address that the client does not hold", message)]
        pool.free(lease, now)
        return []

    def _decline(self, message: DhcpMessage, pool: _Pool, now: float) -> list[ServerAction]:
        if message.options.get(Option.SERVER_IDENTIFIER) != self._identifier:
            return []
        client = message.options.get(Option.CLIENT_IDENTIFIER) or message.chaddr
        lease = pool.by_client.get(client)
        if lease is None or lease.octets != message.options.get(Option.REQUESTED_IP_ADDRESS):
            return [_refusal("DECLINE of an address that the client does not hold", message)]
        pool.quarantine(lease, now)
        return [
            Report(
                text="DECLINE: another host uses the address",
                fields=(("client", format_mac(message.chaddr)), ("address", lease.address)),
            )
        ]

    def _inform(self, event: DhcpReceived) -> list[ServerAction]:
        message = event.message
        port = CLIENT_PORT
        if message.ciaddr != UNSPECIFIED:
            address = message.ciaddr
        elif message.giaddr != UNSPECIFIED:
            address = message.giaddr
            port = SERVER_PORT
        else:
            address = event.source
        pool = None if address == UNSPECIFIED else self._pool_with(address)
        if not self._pools:
            if message.options.get(Option.VENDOR_CLASS_IDENTIFIER) != self._sign_in_class:
                return []
        elif address != UNSPECIFIED and pool is None:
            return [_refusal("no scope for the address of an INFORM", message)]
        if address == UNSPECIFIED:
            return [_refusal("INFORM without an address", message)]
        reply = DhcpMessage(
            op=BOOTREPLY,
            message_type=MessageType.ACK,
            xid=message.xid,
            chaddr=message.chaddr,
            flags=message.flags,
            ciaddr=message.ciaddr,
            giaddr=message.giaddr,
            options=self._options(MessageType.ACK, pool, False, message),
        )
        return [SendDhcpReply(message=reply, source=self._address, destination=address, port=port)]

    def _reply(
        self, message: DhcpMessage, kind: MessageType, pool: _Pool, yiaddr: str, ciaddr: str
    ) -> SendDhcpReply:
        port = CLIENT_PORT
        if message.giaddr != UNSPECIFIED:
            destination = message.giaddr
            port = SERVER_PORT
        elif message.ciaddr != UNSPECIFIED:
            destination = message.ciaddr
        elif message.flags & BROADCAST_FLAG:
            destination = BROADCAST
        else:
            destination = yiaddr
        return SendDhcpReply(
            message=DhcpMessage(
                op=BOOTREPLY,
                message_type=kind,
                xid=message.xid,
                chaddr=message.chaddr,
                flags=message.flags,
                ciaddr=ciaddr,
                yiaddr=yiaddr,
                giaddr=message.giaddr,
                options=self._options(kind, pool, True, message),
            ),
            source=self._address,
            destination=destination,
            port=port,
        )

    def _options(
        self, kind: MessageType, pool: _Pool | None, is_lease: bool, message: DhcpMessage
    ) -> dict[int, bytes]:
        """The options of a reply; the same request gets the same mapping, which nobody changes."""
        asked = message.options.get(Option.PARAMETER_REQUEST_LIST, b"")
        vendor_class = message.options.get(Option.VENDOR_CLASS_IDENTIFIER, b"")
        key = (kind, pool, is_lease, asked, vendor_class)
        options = self._replies.get(key)
        if options is None:
            if len(self._replies) >= _REMEMBERED_REPLIES:
                self._replies.clear()
            options = self._replies[key] = self._make_options(*key)
        sent_back = _sent_back(message)
        return {**options, **sent_back} if sent_back else options

    def _make_options(
        self,
        kind: MessageType,
        pool: _Pool | None,
        is_lease: bool,
        asked: bytes,
        vendor_class: bytes,
    ) -> dict[int, bytes]:
        given = {} if pool is None else pool.options
        options: dict[int, bytes] = {
            Option.DHCP_MESSAGE_TYPE: bytes((kind,)),
            Option.SERVER_IDENTIFIER: self._identifier,
        }
        if is_lease:
            assert pool is not None
            lease_time = pool.lease_time
            options[Option.IP_ADDRESS_LEASE_TIME] = encode_u32(lease_time)
            options[Option.RENEWAL_TIME] = encode_u32(lease_time // 2)
            options[Option.REBINDING_TIME] = encode_u32(lease_time * 7 // 8)
            options[Option.SUBNET_MASK] = given[Option.SUBNET_MASK]
        for code in asked:
            value = given.get(code)
            if code == Option.VENDOR_SPECIFIC_INFORMATION:
                if vendor_class == self._sign_in_class:
                    value = self._uc_options
                elif vendor_class in VLAN_CLASSES:
                    value = self._vlan_options
            elif code == Option.SIP_SERVERS:
                value = self._sip_servers
            if value is not None:
                options.setdefault(code, value)
        return options


class _Pool:
    """The addresses of a scope: fresh ones are counted up, used ones wait in a queue by expiry.

    `options` are those of the scope, `lease_time` is in seconds.
    """

    def __init__(self, scope: Scope) -> None:
        self.lease_time = scope.lease_time
        self.options = _scope_options(scope)
        self._network = int(scope.subnet.network_address)
        self._mask = int(scope.subnet.netmask)
        self._first = self._fresh = int(scope.first)
        self._last = int(scope.last)
        self._by_number: dict[int, _Lease] = {}
        self._queue: list[tuple[float, int]] = []
        self.by_client: dict[bytes, _Lease] = {}

    def is_on_subnet(self, octets: bytes) -> bool:
        return int.from_bytes(octets, "big") & self._mask == self._network

    def lease_for(self, client: bytes, requested: bytes | None, now: float) -> _Lease | None:
        """The client's own address, the one it asks for, or another; None when there is none."""
        lease = self.by_client.get(client)
        if lease is not None:
            if not lease.is_bound or lease.expires_at <= now:
                lease.is_bound = False
                lease.expires_at = now + OFFER_TIME
            return lease
        number = self._requested(requested, now) if requested else None
        if number is None:
            number = self._unused(now)
        if number is None:
            return None
        octets = number.to_bytes(4, "big")
        expires_at = now + OFFER_TIME
        lease = _Lease(
            client=client,
            number=number,
            octets=octets,
            address=unpack_address(octets),
            expires_at=expires_at,
            listed_at=expires_at,
        )
        heappush(self._queue, (expires_at, number))
        self._by_number[number] = self.by_client[client] = lease
        return lease

    def free(self, lease: _Lease, now: float) -> None:
        """End a lease or an offer; its client gets it again as long as nobody else needs it."""
        lease.expires_at = now
        lease.is_bound = False
        if lease.listed_at > now:
            lease.listed_at = now
            heappush(self._queue, (now, lease.number))

    def quarantine(self, lease: _Lease, now: float) -> None:
        """Give the address to nobody for a while."""
        self.by_client.pop(lease.client, None)
        lease.client = b""
        lease.expires_at = now + DECLINED_TIME
        if lease.listed_at > lease.expires_at:
            lease.listed_at = lease.expires_at
            heappush(self._queue, (lease.expires_at, lease.number))

    def _requested(self, octets: bytes, now: float) -> int | None:
        number = int.from_bytes(octets, "big")
        if not self._first <= number <= self._last:
            return None
        holder = self._by_number.get(number)
        if holder is not None:
            if holder.expires_at > now:
                return None
            self._forget(holder)
        return number

    def _unused(self, now: float) -> int | None:
        while self._fresh <= self._last:
            number = self._fresh
            self._fresh += 1
            if number not in self._by_number:
                return number
        while self._queue and self._queue[0][0] <= now:
            listed_at, number = heappop(self._queue)
            lease = self._by_number.get(number)
            if lease is None or lease.listed_at != listed_at:
                continue
            if lease.expires_at <= now:
                self._forget(lease)
                return number
            lease.listed_at = lease.expires_at
            heappush(self._queue, (lease.expires_at, number))
        return None

    def _forget(self, lease: _Lease) -> None:
        del self._by_number[lease.number]
        self.by_client.pop(lease.client, None)


def _uc_options(sign_in: SignInOptions) -> bytes | None:
    if sign_in.web_server_fqdn is None:
        return None
    return encode_uc_options(
        UcOptions(
            uc_identifier=sign_in.uc_identifier,
            url_scheme=sign_in.url_scheme,
            web_server_fqdn=sign_in.web_server_fqdn,
            web_server_port=sign_in.web_server_port,
            cert_prov_rel_path=sign_in.cert_prov_rel_path,
        )
    )


def _vlan_options(config: DhcpServerConfig) -> bytes | None:
    if config.vlan_option is not None:
        octets = bytes.fromhex(config.vlan_option)
        return bytes((_VLAN_SUB_OPTION, len(octets))) + octets
    return encode_uc_options(UcOptions(vlan_id=config.vlan_id)) if config.vlan_id else None


def _scope_options(scope: Scope) -> dict[int, bytes]:
    options: dict[int, bytes] = {
        Option.SUBNET_MASK: encode_addresses((str(scope.subnet.netmask),)),
    }
    for code, addresses in (
        (Option.ROUTER, scope.routers),
        (Option.DOMAIN_NAME_SERVER, scope.dns_servers),
        (Option.NTP_SERVERS, scope.ntp_servers),
    ):
        if addresses:
            options[code] = encode_addresses([str(address) for address in addresses])
    if scope.domain:
        options[Option.DOMAIN_NAME] = scope.domain.encode()
    if scope.domain_search:
        options[Option.DOMAIN_SEARCH] = encode_domain_search(scope.domain_search)
    return options


def _sent_back(message: DhcpMessage) -> dict[int, bytes]:
    """Option 82 of a request, which is the last option of its answer."""
    value = message.options.get(Option.RELAY_AGENT_INFORMATION)
    return {} if value is None else {Option.RELAY_AGENT_INFORMATION: value}


def _refusal(text: str, message: DhcpMessage) -> Report:
    return Report(text=text, fields=_who(message))


def _who(message: DhcpMessage) -> tuple[tuple[str, str], ...]:
    fields = [("client", format_mac(message.chaddr)), ("message", message.message_type.name)]
    if message.ciaddr != UNSPECIFIED:
        fields.append(("ciaddr", message.ciaddr))
    requested = message.options.get(Option.REQUESTED_IP_ADDRESS, b"")
    if len(requested) == 4:
        fields.append(("requested", unpack_address(requested)))
    return tuple(fields)
