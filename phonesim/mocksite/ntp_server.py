"""An NTP server: tells the site's time to whoever asks as a client.

It poses as a primary server on its own clock, as a domain controller without an
upstream source does. Specifications: RFC 5905 section 7.3, RFC 4330 section 6.
"""

from __future__ import annotations

from phonesim.config.site_profile import NtpServerConfig
from phonesim.mocksite.exchange import (
    MalformedArrived,
    NtpReceived,
    Report,
    SendNtpReply,
    ServerAction,
    ServerEvent,
)
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, from_unix

_VERSIONS = (1, 2, 3, 4)
_PRECISION = -20
_REFERENCE_AGE = 16.0


class NtpServer:
    """The server. Its clock is `epoch` (Unix seconds) plus the monotonic time."""

    def __init__(self, config: NtpServerConfig, epoch: float) -> None:
        self._epoch = epoch

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        if isinstance(event, NtpReceived):
            packet = event.packet
            if packet.mode != CLIENT or packet.version not in _VERSIONS:
                return [
                    Report(
                        text="NTP packet that is no client's of version 1 to 4",
                        fields=(
                            ("client", event.client),
                            ("mode", str(packet.mode)),
                            ("version", str(packet.version)),
                        ),
                    )
                ]
            clock = self._epoch + now
            timestamp = from_unix(clock)
            reply = NtpPacket(
                mode=SERVER,
                version=packet.version,
                stratum=1,
                poll=packet.poll,
                precision=_PRECISION,
                reference_id=b"LOCL",
                reference=from_unix(clock - _REFERENCE_AGE),
                originate=packet.transmit,
                receive=timestamp,
                transmit=timestamp,
            )
            return [SendNtpReply(packet=reply, client=event.client)]
        if isinstance(event, MalformedArrived):
            return [
                Report(
                    text="malformed NTP packet",
                    fields=(("source", event.source), ("reason", event.reason)),
                )
            ]
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        """Return None: the server waits for nothing."""
        return None
