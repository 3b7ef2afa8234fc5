"""The phone's cache: what it learned about the site, on its virtual disk.

Every DHCP answer with an FQDN is kept, whatever DNS says, and so is a DNS answer that
was used. When the phone has registered, both are cleared and the values in use are
stored instead. At power-on the values in use count; without them the first kept DHCP
answer, then the kept DNS answer. A phone whose cache holds something usable does not
ask the network; what proves unusable is forgotten. The address of the last lease is
kept for INIT-REBOOT, and the lease itself if the phone may go on using it; its times are
seconds of a clock that goes on without power.

A file that cannot be read is reported and treated as empty.

Specifications: device reference section 1, rules 1, 7 and 8. The real file's format is
unknown; this one is JSON.
"""

from __future__ import annotations

import msgspec

from phonesim.device import device_log as log
from phonesim.device.actions import DeleteFile, PhoneAction, WriteFile
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    CacheForgotten,
    CacheLoaded,
    CacheUnusable,
    CommitWanted,
    DhcpAnswerKept,
    DnsAnswerKept,
    Event,
    Lease,
    LeaseBound,
    PowerApplied,
    RegistrarAddress,
    RepetitionDue,
    ServicesLocated,
    ShutdownRequested,
    WebServicesAddress,
)

Output = PhoneAction | Event | LogRecord

CACHE_FILE = "cache.json"

_NEVER = 1e15  # JSON has no infinity


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A DHCP answer with an FQDN."""

    server: str
    web_services: WebServicesAddress | None
    registrars: tuple[RegistrarAddress, ...]


class InUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values the phone last signed in with."""

    web_services: WebServicesAddress
    registrars: tuple[RegistrarAddress, ...]
    sip_uri: str


class Contents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    address: str | None = None
    lease: Lease | None = None
    dhcp: tuple[KeptAnswer, ...] = ()
    dns: tuple[RegistrarAddress, ...] = ()
    in_use: InUse | None = None


_decoder = msgspec.json.Decoder(Contents)
_encoder = msgspec.json.Encoder()


class Cache:
    """Gives `CacheLoaded` at power-on; every change writes the file.

    `cert_prov_rel_path` makes a URL of the name of a Registrar that DNS gave; None if
    the phone does not do that. `keeps_lease` says whether the whole lease is kept.
    """

    def __init__(self, cert_prov_rel_path: str | None, *, keeps_lease: bool = False) -> None:
        self._cert_prov_rel_path = cert_prov_rel_path
        self._keeps_lease = keeps_lease
        self.contents = Contents()

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case PowerApplied():
                return self._load(event.files.get(CACHE_FILE))
            case LeaseBound() if self._keeps_lease:
                return [self._store(address=event.lease.address, lease=_finite(event.lease))]
            case LeaseBound() if event.lease.address != self.contents.address:
                return [self._store(address=event.lease.address)]
            case DhcpAnswerKept():
                return self._keep_dhcp(event)
            case DnsAnswerKept():
                names = "+".join(registrar.host for registrar in event.registrars)
                return [self._store(dns=event.registrars), log.CACHE_KEPT_DNS(names)]
            case CommitWanted():
                return self._commit(event)
            case CacheUnusable():
                return [
                    log.CACHE_UNUSABLE(event.detail),
                    self._store(dhcp=(), dns=(), in_use=None),
                ]
            case RepetitionDue():
                self.contents = Contents()
                return [DeleteFile(name=CACHE_FILE), log.CACHE_EMPTY()]
            case CacheForgotten():
                return [self._store(dhcp=(), dns=(), in_use=None)]
            case ShutdownRequested() if self.contents.address is not None:
                return [self._store(address=None, lease=None)]
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """The cache waits for nothing."""
        return None

    def _load(self, data: bytes | None) -> list[Output]:
        out: list[Output] = []
        self.contents = Contents()
        if data is not None:
            try:
                self.contents = _decoder.decode(data)
            except msgspec.MsgspecError as error:
                out.append(log.CACHE_CORRUPT(CACHE_FILE, str(error)))
            except UnicodeDecodeError as error:
                out.append(log.CACHE_CORRUPT(CACHE_FILE, f"not UTF-8: {error.reason}"))
        services = self._usable()
        if services is None or services.web_services is None:
            out.append(log.CACHE_EMPTY())
        else:
            kept = "in-use" if self.contents.in_use is not None else "discovered"
            names = "+".join(registrar.host for registrar in services.registrars)
            out.append(log.CACHE_USED(services.web_services.url, names, kept))
        contents = self.contents
        out.append(CacheLoaded(address=contents.address, lease=contents.lease, services=services))
        return out

    def _usable(self) -> ServicesLocated | None:
        contents = self.contents
        if contents.in_use is not None:
            return ServicesLocated(
                web_services=contents.in_use.web_services, registrars=contents.in_use.registrars
            )
        web_services, registrars = None, contents.dns
        if contents.dhcp:
            web_services = contents.dhcp[0].web_services
            registrars = contents.dhcp[0].registrars or registrars
        if web_services is None and contents.dns and self._cert_prov_rel_path is not None:
            first = contents.dns[0]
            web_services = WebServicesAddress(
                scheme="https",
                host=first.host,
                port=443,
                path=self._cert_prov_rel_path,
                source=first.source,
            )
        # Both addresses are needed: with one missing the phone has to find it (rule 1).
        if web_services is None or not registrars:
            return None
        return ServicesLocated(web_services=web_services, registrars=registrars)

    def _keep_dhcp(self, event: DhcpAnswerKept) -> list[Output]:
        answer = KeptAnswer(
            server=event.server, web_services=event.web_services, registrars=event.registrars
        )
        others = tuple(kept for kept in self.contents.dhcp if kept.server != event.server)
        return [self._store(dhcp=(*others, answer)), log.CACHE_KEPT_DHCP(event.server)]

    def _commit(self, event: CommitWanted) -> list[Output]:
        cleared = len(self.contents.dhcp), len(self.contents.dns)
        in_use = InUse(
            web_services=event.web_services, registrars=event.registrars, sip_uri=event.sip_uri
        )
        names = "+".join(registrar.host for registrar in event.registrars)
        return [
            self._store(dhcp=(), dns=(), in_use=in_use),
            log.CACHE_COMMITTED(event.web_services.url, names, event.sip_uri, *cleared),
        ]

    def _store(self, **changes: object) -> WriteFile:
        self.contents = msgspec.structs.replace(self.contents, **changes)
        return WriteFile(name=CACHE_FILE, data=_encoder.encode(self.contents))


def _finite(lease: Lease) -> Lease:
    return msgspec.structs.replace(
        lease,
        t1_at=min(lease.t1_at, _NEVER),
        t2_at=min(lease.t2_at, _NEVER),
        expires_at=min(lease.expires_at, _NEVER),
    )
