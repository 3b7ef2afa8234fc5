"""What a registered phone costs its machines: memory, and time for each refresh.

    python tests/bench/registered_phones.py [PHONES]

Only the line and the mock Registrar that answers it: no world, no sockets, no log files.
"""

from __future__ import annotations

import gc
import random
import resource
import sys
import time

from phonesim.config.device_profile import RegistrationConfig
from phonesim.config.site_profile import RegistrarConfig, UserRange
from phonesim.device.actions import OpenConnection, SendSip
from phonesim.device.events import (
    ConnectionOpened,
    Event,
    LineUsable,
    LookupAnswered,
    LookupRequested,
    RegistrarAddress,
    RegistrationWanted,
    SipMessageReceived,
    TimerExpired,
)
from phonesim.device.line import Line
from phonesim.mocksite.exchange import ConnectionAccepted, SendSipToClient, SipReceived
from phonesim.mocksite.registrar import Registrar
from phonesim.mocksite.users import UserDirectory
from phonesim.virtual_authority import VirtualAuthority
from phonesim.wire.dns import DnsRecord

FE01 = RegistrarAddress(host="fe01.contoso.com", port=5061, transport="tls", source="dhcp")


class Exchange:
    """A Registrar and lines that are wired to it."""

    def __init__(self, phones: int) -> None:
        authority = VirtualAuthority()
        users = UserDirectory(
            [UserRange(count=phones + 1, sip_uri="sip:u{n}@contoso.com", number="{n}", pin="1")]
        )
        config = RegistrarConfig(name="lync01", address="127.0.0.1", fqdn=FE01.host)
        self.registrar = Registrar(config, users, authority, random.Random(1), 0)
        self.users = users
        self.authority = authority
        self.config = RegistrationConfig()
        self.sent = 0

    def register(self, number: int) -> Line:
        sip_uri = f"sip:u{number}@contoso.com"
        user = self.users.by_sip_uri(sip_uri)
        assert user is not None
        csr = f"csr {user.address}".encode()
        certificate = self.authority.issue(csr, 0, 10**9)
        self.users.publish(user, "device", certificate)
        rng = random.Random(number)
        mac = number.to_bytes(6, "big")
        line = Line(self.config, mac, "1", "CPE/4.0 OCPhone/4.0", rng, float)
        wanted = RegistrationWanted(
            registrars=(FE01,),
            sip_uri=sip_uri,
            certificate=certificate,
            chain=b"chain",
            source="127.0.0.9",
        )
        accepted = ConnectionAccepted(
            connection_id=number,
            peer="127.0.0.9",
            peer_port=50000,
            transport="tls",
            peer_certificate=certificate,
        )
        self.registrar.handle(accepted, 0.0)
        usable = self.give(number, line, wanted, 0.0)
        assert usable
        return line

    def give(self, number: int, line: Line, event: Event, now: float) -> bool:
        """Hand a line an event, and answer what it asks for."""
        events = [event]
        is_usable = False
        while events:
            for output in line.handle(events.pop(0), now):
                match output:
                    case LookupRequested():
                        record = DnsRecord(output.qname, "A", 60, "127.0.0.1")
                        events.append(
                            LookupAnswered(
                                lookup_id=output.lookup_id,
                                qname=output.qname,
                                qtype="A",
                                rcode="NOERROR",
                                records=(record,),
                            )
                        )
                    case OpenConnection():
                        events.append(
                            ConnectionOpened(
                                connection_id=output.connection_id,
                                local_address="127.0.0.9",
                                local_port=50000,
                            )
                        )
                    case SendSip():
                        self.sent += 1
                        received = SipReceived(connection_id=number, message=output.message)
                        events += [
                            SipMessageReceived(connection_id=1, message=answer.message)
                            for answer in self.registrar.handle(received, now)
                            if isinstance(answer, SendSipToClient)
                        ]
                    case LineUsable():
                        is_usable = True
        return is_usable


def resident() -> float:
    """Resident set in KB."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1024


def main() -> None:
    phones = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    exchange = Exchange(phones)
    exchange.register(phones + 1)
    gc.collect()
    before = resident()
    lines = [exchange.register(number) for number in range(1, phones + 1)]
    gc.collect()
    print(
        f"{(resident() - before) / phones:.1f} KB a registered phone, the Registrar's half included"
    )
    began = time.perf_counter()
    for number, line in enumerate(lines, 1):
        exchange.give(number, line, TimerExpired(), 570.0)
    seconds = time.perf_counter() - began
    print(f"{phones / seconds:.0f} refreshes a second, both sides, without codecs")


if __name__ == "__main__":
    main()
