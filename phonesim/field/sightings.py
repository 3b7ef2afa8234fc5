"""What is seen of a phone, in its device log or in a capture, and where it stands there.

A sighting has the name and the fields of a record of the device log (`device.device_log.KINDS`;
`docs/device-log.md` has them all), whichever input it comes from. What only packets show has a
name of its own, in `ONLY_CAPTURED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from phonesim.device.device_log import Value

ONLY_CAPTURED: Mapping[str, tuple[str, ...]] = {
    # A phone that was not there before sends its first packet, or begins anew with DHCP.
    "boot_begun": ("mac",),
    # Who the phone is, by the inventory of its LLDP-MED.
    "inventory_shown": ("vendor", "model"),
    # What an OFFER has in it, whether or not a lease came of it.
    "offer_shown": ("address", "mask", "server", "lease", "router", "dns", "domain", "ntp"),
    # A DHCP reply for the phone that went where it does not listen; `expected` is where it does.
    "reply_astray": ("type", "xid", "server", "destination", "expected"),
    # No connection came about; `failure` is refused, timeout or closed, as in `ConnectFailure`.
    "connect_failed": ("server", "failure"),
    # The server's certificate in a TLS handshake; `names` are separated by commas, `asked` is the
    # name that the phone asked for, `shown` how many the server sent. Between the times, in Unix
    # seconds, all of them are valid; `outdated` is the subject of the first that is not now.
    "certificate_shown": (
        "server",
        "asked",
        "subject",
        "names",
        "not_before",
        "not_after",
        "issuer",
        "shown",
        "outdated",
    ),
    # A TLS alert; `by` is phone or server, `alert` its name in RFC 5246.
    "tls_alert": ("server", "by", "alert"),
    # A downloaded chain of trust: the subjects in it, separated by commas; why it is of no use.
    "chain_shown": ("url", "subjects", "problem"),
    # The metadata of a web service: the names of its ports, separated by commas.
    "metadata_shown": ("url", "ports"),
    # A phone that was registered asks no more, or a boot that is cut off: nothing follows.
    "capture_ended": ("seconds",),
}
"""Names of what no device log has, and their fields."""


class FieldValues(Mapping[str, Value]):
    """The values of some fields: a read-only dict of a third of the size."""

    __slots__ = ("_fields", "_values")

    def __init__(self, fields: tuple[str, ...], values: tuple[Value, ...]) -> None:
        self._fields = fields
        self._values = values

    def __getitem__(self, field: str) -> Value:
        """The value of a field; KeyError for one that is not there."""
        try:
            return self._values[self._fields.index(field)]
        except ValueError:
            raise KeyError(field) from None

    def __iter__(self) -> Iterator[str]:
        """The fields, in order."""
        return iter(self._fields)

    def __len__(self) -> int:
        """How many fields there are."""
        return len(self._fields)

    def __repr__(self) -> str:
        """The same as a dict's."""
        return repr(dict(self))


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where something stands: a line of a log or a frame of a capture, counted from 1."""

    file: str
    number: int
    is_frame: bool = False

    def __str__(self) -> str:
        """Text such as `cpsw3g.log:17` or `site.pcap frame 4`."""
        return f"{self.file} frame {self.number}" if self.is_frame else f"{self.file}:{self.number}"


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """One thing that was seen. `at` is seconds, for differences only; `text` is the line as it
    is, or a packet in words with what matters of it decoded.
    """

    place: Place
    at: float
    phone_id: str
    name: str
    values: Mapping[str, Value]
    text: str

    def __getitem__(self, field: str) -> Value:
        """The value of a field."""
        return self.values[field]
