"""Small boots made by hand: records as a phone logs them, read back as sightings."""

from __future__ import annotations

from collections.abc import Iterable

from phonesim.device import device_log as log
from phonesim.device.device_log import KINDS, LogRecord
from phonesim.field.boots import Boot
from phonesim.field.finding import Finding
from phonesim.field.rules.consequences import find_in_boot
from phonesim.field.sightings import ONLY_CAPTURED, Place, Sighting

PHONE = "00-04-F2-00-00-01"
SERVER = "192.0.2.10"
URL = "https://webpool.contoso.com:443/CertProv/CertProvisioningService.svc"
OPTION_43 = (
    "010c4d532d55432d436c69656e74020568747470730313776562706f6f6c2e636f6e746f736f2e636f6d"
    "040334343305252f4365727450726f762f4365727450726f766973696f6e696e67536572766963652e737663"
)
OPTION_120 = "00046665303107636f6e746f736f03636f6d00046665303207636f6e746f736f03636f6d00"

_FIELDS = {name: tuple(kind.fields) for name, kind in KINDS.items()} | dict(ONLY_CAPTURED)


def sightings_of(
    records: Iterable[LogRecord], phone_id: str = PHONE, *, is_frame: bool = False
) -> list[Sighting]:
    return [
        Sighting(
            place=Place("site.pcap" if is_frame else "cpsw3g.log", number, is_frame),
            at=1_770_000_000 + number,
            phone_id=phone_id,
            name=record.name,
            values=dict(zip(_FIELDS[record.name], record.values, strict=True)),
            text=f"{record.name} {record.values}",
        )
        for number, record in enumerate(records, 1)
    ]


def boot_of(*records: LogRecord, phone_id: str = PHONE, is_frame: bool = False) -> Boot:
    boot = Boot(phone_id)
    for sighting in sightings_of(records, phone_id, is_frame=is_frame):
        boot.take(sighting)
    return boot


def causes_in(*records: LogRecord, is_frame: bool = False) -> list[str]:
    """The names of the causes found in a boot, the order of rules kept."""
    return [each.cause.name for each in findings_in(*records, is_frame=is_frame)]


def findings_in(*records: LogRecord, is_frame: bool = False) -> list[Finding]:
    return find_in_boot(boot_of(*records, is_frame=is_frame))


def shown(name: str, *values: str | int | float) -> LogRecord:
    """A record that only captures have."""
    return LogRecord(name, values)


def sent(kind: str, attempt: int = 1, vendor_class: str = "MS-UC-Client") -> LogRecord:
    xid = 2 if kind == "INFORM" else 1
    return log.DHCP_SENT(
        kind, xid, 0, "0.0.0.0", "255.255.255.255", vendor_class, "43,120", attempt
    )


def received(kind: str, server: str = SERVER, *, informs: bool = False) -> LogRecord:
    return log.DHCP_RECEIVED(kind, 2 if informs else 1, server, server, "192.0.2.77", "53,54")


def lease(server: str = SERVER, domain: str = "contoso.com") -> LogRecord:
    return log.DHCP_LEASE(
        "192.0.2.77", "255.255.255.0", server, 300, 500, 600, "", "192.0.2.11", domain, ""
    )


def answer(qname: str, records: str = "", rcode: str = "NXDOMAIN", qtype: str = "A") -> LogRecord:
    given = "NOERROR" if records else rcode
    return log.DNS_ANSWER(qtype, qname, given, "192.0.2.11", records or "no records")


def asked(qname: str, attempt: int = 1) -> LogRecord:
    return log.DNS_SENT("A", qname, "192.0.2.11", "udp", attempt)


def failed(stage: str, reason: str, detail: str = "so it is") -> LogRecord:
    return log.BOOT_FAILED(stage, reason, detail, "again in 60 s")


def option_43(octets: str = OPTION_43, url: str = "", server: str = SERVER) -> LogRecord:
    return log.OPTION_43(server, octets, url, "")


def option_120(octets: str = OPTION_120, registrars: str = "", server: str = SERVER) -> LogRecord:
    return log.OPTION_120(server, octets, registrars)


def registrar_failed(host: str, failure: str = "refused") -> LogRecord:
    return log.REGISTRAR_FAILED(f"{host}:5061", failure, "127.0.0.1:5061: no")


def connecting(host: str, source: str = f"dhcp:{SERVER}") -> LogRecord:
    return log.REGISTRAR_CONNECTING(f"{host}:5061", "192.0.2.21", "tls", source)


def registered(host: str = "fe01.contoso.com") -> LogRecord:
    return log.REGISTERED(f"{host}:5061", "sip:user@contoso.com", 600, "added")


def http_failed(failure: str, operation: str = "GetMetadata") -> LogRecord:
    detail = f"webpool.contoso.com (192.0.2.20:443): {failure}"
    return log.HTTP_FAILED(operation, failure, detail)


def http_sent(operation: str = "GetMetadata") -> LogRecord:
    return log.HTTP_SENT(operation, URL, "192.0.2.20", 1)


POWER = log.POWER_APPLIED("POLYCOM", "CX600", "4.0.7577.4066", PHONE)
SRV = "_sipinternaltls._tcp.contoso.com"
NO_SRV = answer(SRV, qtype="SRV")
LOCATED = (
    lease(),
    sent("INFORM"),
    received("ACK", informs=True),
    option_43(url=URL),
    option_120(registrars="fe01.contoso.com+fe02.contoso.com"),
    answer("webpool.contoso.com", "A 192.0.2.20 ttl 3600"),
)
"""A boot that found everything by DHCP."""
ONE_SRV = answer(SRV, "SRV 0 0 5061 fe01.contoso.com ttl 3600", qtype="SRV")
REACHED = (*LOCATED, log.CHAIN_RECEIVED(900), log.TICKET_RECEIVED("sip:user@contoso.com", "x", 9))
"""And has its ticket."""
SIGNED_IN = (
    log.POWER_APPLIED("POLYCOM", "CX600", "4.0", PHONE),
    *REACHED,
    connecting("fe01.contoso.com"),
    registered(),
    log.SIGNED_IN("sip:user@contoso.com", "fe01.contoso.com:5061", 1.0),
)
"""A whole boot that went well."""
