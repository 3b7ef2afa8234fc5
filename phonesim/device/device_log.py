"""The device log: which records a phone can write, and the dialect that turns them into lines.

A record is a name and its values. Every kind of record is a `RecordKind` below,
with its fields and their types; calling one makes a `LogRecord`. The text around
the values is data of the device profile, so that someone who holds a real log can
match it. A `Dialect` compiles those texts once: `format` makes lines, `parse`
reads a line back into the record it came from.

One line is `MM/DD/YYYY HH:MM:SS.mmm|tttttttttt|ZONE    |text` and CRLF, where the
time is what the phone's clock believes (UTC) and `tttttttttt` the milliseconds since
power was applied. `docs/device-log.md` is the grammar.

Specifications: none is public. The path is documented, this dialect is synthetic.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from phonesim.config.device_profile import LogRecordText
from phonesim.errors import DecodeError, ProfileError

Value = str | int | float


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One record: the name of its kind, and a value for each of the kind's fields, in order."""

    name: str
    values: tuple[Value, ...] = ()


class LogLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line, read back: the believed time (Unix seconds), the tick, the zone, the record."""

    clock: float
    tick: int
    zone: str
    record: LogRecord


class FieldType(msgspec.Struct, frozen=True, gc=False):
    """How a field's value is printed (`write`, then `conversion`) and found again."""

    conversion: str
    pattern: str
    write: Callable[[str], str] | None
    read: Callable[[str], Value]


# A token holds no blank, quote or bar, so that it ends where the text around it says.
_TOKEN_UNSAFE = re.compile(r"[^!#$&-{}~]")
_TEXT_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


@lru_cache(maxsize=65536)
def _write_token(value: str) -> str:
    if not value:
        return "-"
    if value == "-":
        return "%2D"
    return _TOKEN_UNSAFE.sub(lambda match: _percent(match.group()), value)


def _percent(character: str) -> str:
    return "".join(f"%{octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))


def _read_token(text: str) -> str:
    if text == "-":
        return ""
    return _unpercent(text)


@lru_cache(maxsize=8192)
def _write_text(value: str) -> str:
    return _TEXT_UNSAFE.sub(lambda match: _percent(match.group()), value.replace("%", "%25"))


def _unpercent(text: str) -> str:
    if "%" not in text:
        return text
    octets = re.sub(
        rb"%([0-9A-F]{2})", lambda match: bytes([int(match.group(1), 16)]), text.encode()
    )
    return octets.decode("utf-8", "surrogatepass")


TOKEN = FieldType("%s", r"([!#-{}~]+)", _write_token, _read_token)
"""A name, an address, a code: no blanks."""
TEXT = FieldType('"%s"', r'"([ !#-~]*)"', _write_text, _unpercent)
"""Free text, quoted."""
NUMBER = FieldType("%d", r"(-?\d{1,20})", None, int)
XID = FieldType("0x%08x", r"0x([0-9a-f]{8})", None, lambda text: int(text, 16))
SECONDS = FieldType("%.3f", r"(-?\d{1,20}\.\d{3})", None, float)

KINDS: dict[str, RecordKind] = {}


class RecordKind:
    """A kind of record: its name, and its fields with their types. Calling it makes a record."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str, **fields: FieldType) -> None:
        self.name = name
        self.fields: Mapping[str, FieldType] = fields
        KINDS[name] = self

    def __call__(self, *values: Value) -> LogRecord:
        """A record of this kind, one value for each field."""
        return LogRecord(self.name, values)


# --- power, address ----------------------------------------------------------

POWER_APPLIED = RecordKind("power_applied", vendor=TOKEN, model=TOKEN, firmware=TOKEN, mac=TOKEN)
SHUTDOWN = RecordKind("shutdown")
FACTORY_RESET = RecordKind("factory_reset", files=TOKEN)
DISPLAY = RecordKind("display", text=TEXT)
LLDP_SENT = RecordKind("lldp_sent", chassis=TOKEN, port=TOKEN, ttl=NUMBER, vlan=NUMBER)
LLDP_RECEIVED = RecordKind("lldp_received", chassis=TOKEN, port=TOKEN, ttl=NUMBER, policy=TEXT)
LLDP_IGNORED = RecordKind("lldp_ignored", chassis=TOKEN, detail=TEXT)
VLAN_FOUND = RecordKind("vlan_found", vlan=NUMBER, source=TOKEN)
VLAN_NOT_FOUND = RecordKind("vlan_not_found", detail=TEXT)
VLAN_CHANGED = RecordKind("vlan_changed", old=NUMBER, new=NUMBER, detail=TEXT)
VLAN_OPTION = RecordKind("vlan_option", server=TOKEN, hex=TOKEN, vlan=NUMBER)
DHCP_STATE = RecordKind("dhcp_state", old=TOKEN, new=TOKEN)
DHCP_SENT = RecordKind(
    "dhcp_sent",
    type=TOKEN,
    xid=XID,
    secs=NUMBER,
    ciaddr=TOKEN,
    destination=TOKEN,
    vendor_class=TOKEN,
    parameters=TOKEN,
    attempt=NUMBER,
)
DHCP_RECEIVED = RecordKind(
    "dhcp_received", type=TOKEN, xid=XID, server=TOKEN, source=TOKEN, yiaddr=TOKEN, options=TOKEN
)
DHCP_IGNORED = RecordKind("dhcp_ignored", type=TOKEN, xid=XID, source=TOKEN, detail=TEXT)
DHCP_LEASE = RecordKind(
    "dhcp_lease",
    address=TOKEN,
    mask=TOKEN,
    server=TOKEN,
    t1=NUMBER,
    t2=NUMBER,
    lease=NUMBER,
    router=TOKEN,
    dns=TOKEN,
    domain=TOKEN,
    ntp=TOKEN,
)
DHCP_NO_ANSWER = RecordKind("dhcp_no_answer", type=TOKEN, attempts=NUMBER)
ADDRESS_CONFLICT = RecordKind("address_conflict", address=TOKEN, mac=TOKEN)
ADDRESS_DEFENDED = RecordKind("address_defended", address=TOKEN)
LEASE_KEPT = RecordKind("lease_kept", address=TOKEN, seconds=SECONDS)
AUTO_IP = RecordKind("auto_ip", address=TOKEN, retry=SECONDS)
LEASE_LOST = RecordKind("lease_lost", address=TOKEN, detail=TEXT)

# --- names, time -------------------------------------------------------------

DNS_SENT = RecordKind(
    "dns_sent", qtype=TOKEN, qname=TOKEN, server=TOKEN, transport=TOKEN, attempt=NUMBER
)
DNS_ANSWER = RecordKind(
    "dns_answer", qtype=TOKEN, qname=TOKEN, rcode=TOKEN, server=TOKEN, records=TEXT
)
DNS_IGNORED = RecordKind("dns_ignored", qname=TOKEN, server=TOKEN, detail=TEXT)
NTP_SENT = RecordKind("ntp_sent", server=TOKEN, attempt=NUMBER)
NTP_IGNORED = RecordKind("ntp_ignored", server=TOKEN, detail=TEXT)
CLOCK_SET = RecordKind("clock_set", server=TOKEN, offset=SECONDS)
CLOCK_NOT_SET = RecordKind("clock_not_set", detail=TEXT)

# --- discovery ---------------------------------------------------------------

DISCOVERY_STARTED = RecordKind("discovery_started", domain=TOKEN, detail=TEXT)
OPTION_43 = RecordKind("option_43", server=TOKEN, hex=TOKEN, url=TOKEN, identifier=TOKEN)
OPTION_120 = RecordKind("option_120", server=TOKEN, hex=TOKEN, registrars=TOKEN)
OPTION_MISSING = RecordKind("option_missing", server=TOKEN, option=NUMBER)
OPTION_WARNING = RecordKind("option_warning", server=TOKEN, option=NUMBER, detail=TEXT)
RACE_WON = RecordKind("race_won", source=TOKEN, detail=TEXT)
RACE_LOST = RecordKind("race_lost", source=TOKEN, detail=TEXT)
WEB_SERVICES_LOCATED = RecordKind("web_services_located", url=TOKEN, source=TOKEN)
WEB_SERVICES_NOT_LOCATED = RecordKind("web_services_not_located", detail=TEXT)
REGISTRAR_LOCATED = RecordKind(
    "registrar_located", order=NUMBER, registrar=TOKEN, transport=TOKEN, source=TOKEN
)
REGISTRAR_NOT_LOCATED = RecordKind("registrar_not_located", detail=TEXT)

# --- cache -------------------------------------------------------------------

CACHE_EMPTY = RecordKind("cache_empty")
CACHE_USED = RecordKind("cache_used", url=TOKEN, registrars=TOKEN, kept=TOKEN)
CACHE_CORRUPT = RecordKind("cache_corrupt", file=TOKEN, detail=TEXT)
CACHE_KEPT_DHCP = RecordKind("cache_kept_dhcp", server=TOKEN)
CACHE_KEPT_DNS = RecordKind("cache_kept_dns", registrars=TOKEN)
CACHE_UNUSABLE = RecordKind("cache_unusable", detail=TEXT)
CACHE_COMMITTED = RecordKind(
    "cache_committed", url=TOKEN, registrars=TOKEN, user=TOKEN, dhcp=NUMBER, dns=NUMBER
)

# --- identity ----------------------------------------------------------------

IDENTITY_LOADED = RecordKind("identity_loaded", user=TOKEN, size=NUMBER)
IDENTITY_USED = RecordKind("identity_used", user=TOKEN)
IDENTITY_UNUSABLE = RecordKind("identity_unusable", detail=TEXT)
SIGNED_OUT = RecordKind("signed_out", forgotten=TOKEN)

# --- sign-in -----------------------------------------------------------------

HTTP_SENT = RecordKind("http_sent", operation=TOKEN, url=TOKEN, address=TOKEN, attempt=NUMBER)
HTTP_AUTHORIZED = RecordKind(
    "http_authorized", operation=TOKEN, scheme=TOKEN, message=TOKEN, size=NUMBER
)
HTTP_ANSWER = RecordKind("http_answer", operation=TOKEN, status=NUMBER, detail=TEXT)
HTTP_FAILED = RecordKind("http_failed", operation=TOKEN, failure=TOKEN, detail=TEXT)
HTTP_IGNORED = RecordKind("http_ignored", detail=TEXT)
CHAIN_RECEIVED = RecordKind("chain_received", size=NUMBER)
SERVICE_PORT = RecordKind("service_port", port=TOKEN, url=TOKEN)
TICKET_ISSUER = RecordKind("ticket_issuer", url=TOKEN)
TICKET_RECEIVED = RecordKind("ticket_received", user=TOKEN, assertion=TOKEN, lifetime=NUMBER)
WEB_DIAGNOSTICS = RecordKind(
    "web_diagnostics", error=NUMBER, source=TOKEN, fault=TOKEN, reason=TEXT
)
TICKET_REFUSED = RecordKind("ticket_refused", reason=TOKEN, error=NUMBER, detail=TEXT)
RENEWAL_PLANNED = RecordKind("renewal_planned", seconds=NUMBER)
RENEWAL_STARTED = RecordKind("renewal_started", user=TOKEN)
RENEWAL_REFUSED = RecordKind("renewal_refused", reason=TOKEN, detail=TEXT)
RENEWAL_FAILED = RecordKind("renewal_failed", reason=TOKEN, detail=TEXT)
CERTIFICATE_RECEIVED = RecordKind("certificate_received", user=TOKEN, size=NUMBER)

# --- registration ------------------------------------------------------------

REGISTRAR_CONNECTING = RecordKind(
    "registrar_connecting", registrar=TOKEN, address=TOKEN, transport=TOKEN, source=TOKEN
)
REGISTRAR_CONNECTED = RecordKind("registrar_connected", registrar=TOKEN, local=TOKEN)
REGISTRAR_REMEMBERED = RecordKind(
    "registrar_remembered", registrar=TOKEN, addresses=TOKEN, detail=TEXT
)
REGISTRAR_FAILED = RecordKind("registrar_failed", registrar=TOKEN, failure=TOKEN, detail=TEXT)
REGISTER_SENT = RecordKind(
    "register_sent", registrar=TOKEN, cseq=NUMBER, expires=NUMBER, auth=TOKEN
)
SCHEME_CHOSEN = RecordKind("scheme_chosen", offers=TOKEN, scheme=TOKEN, target=TOKEN)
HANDSHAKE_SENT = RecordKind("handshake_sent", scheme=TOKEN, size=NUMBER, messages=TEXT)
HANDSHAKE_RECEIVED = RecordKind("handshake_received", scheme=TOKEN, size=NUMBER, messages=TEXT)
ASSOCIATION_MADE = RecordKind(
    "association_made", scheme=TOKEN, opaque=TOKEN, target=TOKEN, lifetime=NUMBER
)
ASSOCIATION_ENDED = RecordKind("association_ended", opaque=TOKEN, detail=TEXT)
SIP_UNVERIFIED = RecordKind("sip_unverified", message=TOKEN, detail=TEXT)
REGISTER_ANSWER = RecordKind(
    "register_answer", status=NUMBER, reason=TEXT, cseq=NUMBER, diagnostics=TEXT
)
REGISTERED = RecordKind("registered", registrar=TOKEN, user=TOKEN, expires=NUMBER, action=TOKEN)
REGISTRAR_STATE = RecordKind(
    "registrar_state",
    registrar=TOKEN,
    cluster=TOKEN,
    connected=TOKEN,
    services=TOKEN,
    logon=TOKEN,
    gruu=TOKEN,
)
REGISTRAR_REDIRECTED = RecordKind("registrar_redirected", registrar=TOKEN, target=TOKEN)
REGISTRATION_LOST = RecordKind("registration_lost", registrar=TOKEN, detail=TEXT)
REGISTRATION_PAUSED = RecordKind("registration_paused", seconds=SECONDS, registrar=TOKEN)
DEREGISTERED = RecordKind("deregistered", registrar=TOKEN, event=TOKEN, diagnostics=TEXT)
REGISTRAR_CHANGED = RecordKind("registrar_changed", old=TOKEN, new=TOKEN, survivable=TOKEN)
PRIMARY_PROBED = RecordKind("primary_probed", registrar=TOKEN, result=TEXT)
PRIMARY_PREFERRED = RecordKind("primary_preferred", registrar=TOKEN, detail=TEXT)
SUBSCRIBE_SENT = RecordKind(
    "subscribe_sent", registrar=TOKEN, event=TOKEN, cseq=NUMBER, expires=NUMBER
)
SUBSCRIBE_ANSWER = RecordKind(
    "subscribe_answer", status=NUMBER, reason=TEXT, cseq=NUMBER, diagnostics=TEXT
)
PROVISIONING_RECEIVED = RecordKind(
    "provisioning_received", method=TOKEN, registrars=TOKEN, url=TOKEN
)
PROVISIONING_MISSED = RecordKind("provisioning_missed", detail=TEXT)
SIP_IGNORED = RecordKind("sip_ignored", detail=TEXT)

# --- the boot ----------------------------------------------------------------

STAGE_ENDED = RecordKind("stage_ended", stage=TOKEN, result=TOKEN, seconds=SECONDS)
MALFORMED = RecordKind("malformed", protocol=TOKEN, source=TOKEN, size=NUMBER, detail=TEXT)
SIGNED_IN = RecordKind("signed_in", user=TOKEN, registrar=TOKEN, seconds=SECONDS)
BOOT_FAILED = RecordKind("boot_failed", stage=TOKEN, reason=TOKEN, detail=TEXT, retry=TEXT)

_FIELD = re.compile(r"\{(\w+)\}")
_LINE = re.compile(
    r"(\d\d)/(\d\d)/(\d{4}) (\d\d):(\d\d):(\d\d)\.(\d{3})\|(\d{10,20})\|([A-Z]+) *\|(.*)",
    re.DOTALL | re.ASCII,
)


@lru_cache(maxsize=4096)
def _second(clock: int) -> str:
    moment = datetime.datetime.fromtimestamp(clock, datetime.UTC)
    return f"{moment:%m/%d/%Y %H:%M:%S}"


class _Text:
    """One record's text, compiled both ways."""

    __slots__ = ("kind", "order", "pattern", "write")

    def __init__(self, kind: RecordKind, zone: str, text: str) -> None:
        order = _FIELD.findall(text)
        if sorted(order) != sorted(kind.fields):
            raise ProfileError(
                f"log.records.{kind.name}.text: must name each of "
                f"{', '.join(kind.fields) or 'no fields'} once, in braces; it names "
                f"{', '.join(order) or 'none'}"
            )
        if not zone.isupper() or not zone.isalpha() or not zone.isascii() or len(zone) > 8:
            raise ProfileError(
                f"log.records.{kind.name}.zone: 1 to 8 capital letters, not {zone!r}"
            )
        if not text.isascii() or not text.isprintable():
            raise ProfileError(f"log.records.{kind.name}.text: must be printable ASCII on one line")
        parts = _FIELD.split(text)
        for left, between, right in zip(parts[1::2], parts[2::2], parts[3::2], strict=False):
            if not _TOKEN_UNSAFE.search(between):
                raise ProfileError(
                    f"log.records.{kind.name}.text: a blank is needed between {{{left}}} and "
                    f"{{{right}}}, or nobody can tell where one ends"
                )
        self.kind = kind
        formats, patterns = [], []
        for position, part in enumerate(parts):
            if position % 2:
                formats.append(kind.fields[part].conversion)
                patterns.append(kind.fields[part].pattern)
            else:
                formats.append(part.replace("%", "%%"))
                patterns.append(re.escape(part))
        names = list(kind.fields)
        self.order = [names.index(field) for field in order]
        line = f"{zone:<8}|{''.join(formats)}\r\n"
        self.write = _compile(line, [(names.index(field), kind.fields[field]) for field in order])
        self.pattern = re.compile("".join(patterns), re.ASCII)

    def read(self, text: str) -> LogRecord | None:
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        fields = list(self.kind.fields.values())
        values: list[Value] = [""] * len(fields)
        try:
            for index, found in zip(self.order, match.groups(), strict=True):
                values[index] = fields[index].read(found)
        except UnicodeDecodeError:
            return None
        return LogRecord(self.kind.name, tuple(values))


def _compile(
    line: str, fields: Sequence[tuple[int, FieldType]]
) -> Callable[[tuple[Value, ...]], str]:
    """Make the function that puts a record's values into its line.

    Compiled, because a boot writes some sixty lines and a loop over the fields of each
    costs half as much again.
    """
    writers = {f"w{index}": field.write for index, field in fields if field.write is not None}
    values = "".join(
        f"w{index}(v[{index}])," if field.write is not None else f"v[{index}],"
        for index, field in fields
    )
    source = f"lambda v: {line!r} % ({values})" if fields else f"lambda v: {line % ()!r}"
    return eval(source, writers)  # type: ignore[no-any-return]  # noqa: S307 - indexes and a repr


class Dialect:
    """The texts of one device profile. `ProfileError` if they do not fit the records."""

    def __init__(self, records: Mapping[str, LogRecordText]) -> None:
        unknown = sorted(set(records) - set(KINDS))
        missing = sorted(set(KINDS) - set(records))
        if unknown:
            raise ProfileError(f"log.records: no such record: {', '.join(unknown)}")
        if missing:
            raise ProfileError(f"log.records: no text for: {', '.join(missing)}")
        self._texts = {
            name: _Text(KINDS[name], entry.zone, entry.text) for name, entry in records.items()
        }
        # Texts by their first word, so that a line is tried against few of them; those that
        # begin with a field are tried against every line.
        self._by_word: dict[str, list[_Text]] = {}
        for name, entry in records.items():
            word = entry.text.split(" ", 1)[0]
            self._by_word.setdefault("" if "{" in word else word, []).append(self._texts[name])

    def format(self, records: Iterable[LogRecord], clock: float, tick: int) -> str:
        """The lines of one moment, each with CRLF.

        `clock` is Unix seconds, `tick` milliseconds.
        """
        # Floored, not cut off: a clock that NTP set before 1970 is negative.
        seconds, millisecond = divmod(math.floor(clock * 1000), 1000)
        stamp = f"{_second(seconds)}.{millisecond:03d}|{tick:010d}|"
        texts = self._texts
        return stamp + stamp.join([texts[record.name].write(record.values) for record in records])

    def parse(self, line: str) -> LogLine:
        """Read a line back; `DecodeError` if it is not one of this dialect."""
        match = _LINE.fullmatch(line.rstrip("\r\n"))
        if match is None:
            raise DecodeError("not a device log line: time, tick, zone and text expected")
        month, day, year, hour, minute, second, milli = (int(match.group(i)) for i in range(1, 8))
        try:
            moment = datetime.datetime(
                year, month, day, hour, minute, second, tzinfo=datetime.UTC
            ).timestamp()
        except ValueError as error:
            raise DecodeError(f"not a time: {error}") from None
        body = match.group(10)
        record = self.read(body)
        if record is None:
            raise DecodeError(f"no record of this dialect reads: {body[:80]}")
        return LogLine(
            clock=moment + milli / 1000,
            tick=int(match.group(8)),
            zone=match.group(9),
            record=record,
        )

    def read(self, text: str) -> LogRecord | None:
        """The record that a line's text stands for; None if this dialect has none."""
        word = text.split(" ", 1)[0]
        for candidates in (self._by_word.get(word, ()), self._by_word.get("", ())):
            for candidate in candidates:
                record = candidate.read(text)
                if record is not None:
                    return record
        return None
