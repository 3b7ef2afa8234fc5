"""TLS records without TLS: which handshake messages are in the octets of one flight.

    type(1) version(2) length(2) fragment          a record
    type(1) length(3) body                         a handshake message, in one or more records

What follows ChangeCipherSpec is encrypted: one handshake record there is Finished.

Specifications: RFC 2246 and RFC 5246 sections 6.2.1, 7.2 and 7.4.
"""

from __future__ import annotations

import msgspec

from phonesim.errors import DecodeError

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE = 20, 21, 22
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11
CERTIFICATE_REQUEST, SERVER_HELLO_DONE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE = 13, 14, 15, 16
FINISHED = 20

_TLS_1_0 = b"\x03\x01"
_HEADER_SIZE = 5
_LARGEST_RECORD = 2**14 + 2048

_NAMES = {
    0: "HelloRequest",
    CLIENT_HELLO: "ClientHello",
    SERVER_HELLO: "ServerHello",
    4: "NewSessionTicket",
    CERTIFICATE: "Certificate",
    12: "ServerKeyExchange",
    CERTIFICATE_REQUEST: "CertificateRequest",
    SERVER_HELLO_DONE: "ServerHelloDone",
    CERTIFICATE_VERIFY: "CertificateVerify",
    CLIENT_KEY_EXCHANGE: "ClientKeyExchange",
    FINISHED: "Finished",
    22: "CertificateStatus",
}
_ALERTS = {
    0: "close notify",
    10: "unexpected message",
    20: "bad record MAC",
    40: "handshake failure",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown CA",
    50: "decode error",
    51: "decrypt error",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
}


HANDSHAKE_FAILURE, BAD_CERTIFICATE, CERTIFICATE_EXPIRED = 40, 42, 45
UNKNOWN_CA, PROTOCOL_VERSION = 48, 70
"""Alerts."""


class FlightMessage(msgspec.Struct, frozen=True, gc=False):
    """One message of a flight: its name in the RFC, and its body, encrypted for Finished."""

    name: str
    body: bytes


def read_flight(octets: bytes) -> tuple[FlightMessage, ...]:
    """The messages of whole TLS records; DecodeError if they are none, or are cut off."""
    messages: list[FlightMessage] = []
    pending = b""
    is_encrypted = False
    position = 0
    while position < len(octets):
        kind, fragment = _read_record(octets, position)
        position += _HEADER_SIZE + len(fragment)
        if pending and kind != HANDSHAKE:
            raise DecodeError("TLS: a handshake message is cut off by another record")
        if kind == CHANGE_CIPHER_SPEC:
            is_encrypted = True
            messages.append(FlightMessage("ChangeCipherSpec", fragment))
        elif kind == ALERT:
            messages.append(FlightMessage("Alert", fragment))
        elif is_encrypted:
            messages.append(FlightMessage("Finished", fragment))
        else:
            pending = _split(pending + fragment, messages)
    if pending:
        raise DecodeError("TLS: the last handshake message is cut off")
    if not messages:
        raise DecodeError("TLS: no record")
    return tuple(messages)


def describe_flight(octets: bytes) -> str:
    """The names of a flight's messages, for people; DecodeError as for `read_flight`."""
    return ", ".join(
        f"Alert ({alert_name(message.body)})" if message.name == "Alert" else message.name
        for message in read_flight(octets)
    )


def alert_name(body: bytes) -> str:
    """What an alert says; "encrypted" where nobody can tell."""
    return _ALERTS.get(body[1], f"number {body[1]}") if len(body) == 2 else "encrypted"


def encode_handshake(*messages: tuple[int, bytes]) -> bytes:
    """One TLS 1.0 record of handshake messages, each a type and a body."""
    fragment = b"".join(
        bytes((kind,)) + len(body).to_bytes(3, "big") + body for kind, body in messages
    )
    return _record(HANDSHAKE, fragment)


def encode_finished(verify_data: bytes) -> bytes:
    """The records ChangeCipherSpec and Finished, `verify_data` being the encrypted message."""
    return _record(CHANGE_CIPHER_SPEC, b"\x01") + _record(HANDSHAKE, verify_data)


def _record(kind: int, fragment: bytes) -> bytes:
    return bytes((kind,)) + _TLS_1_0 + len(fragment).to_bytes(2, "big") + fragment


def _read_record(octets: bytes, position: int) -> tuple[int, bytes]:
    header = octets[position : position + _HEADER_SIZE]
    if len(header) < _HEADER_SIZE:
        raise DecodeError(f"TLS: {len(header)} octets are too few for a record")
    kind, major, size = header[0], header[1], int.from_bytes(header[3:], "big")
    if kind not in (CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE) or major != 3:
        raise DecodeError("TLS: the octets do not begin with a record of a handshake")
    if not 0 < size <= _LARGEST_RECORD:
        raise DecodeError(f"TLS: a record of {size} octets")
    fragment = octets[position + _HEADER_SIZE : position + _HEADER_SIZE + size]
    if len(fragment) < size:
        raise DecodeError(f"TLS: a record has {len(fragment)} of {size} octets")
    return kind, fragment


def _split(octets: bytes, messages: list[FlightMessage]) -> bytes:
    """Append the whole handshake messages, return what is left of the next one."""
    while len(octets) >= 4:
        size = int.from_bytes(octets[1:4], "big")
        if len(octets) < 4 + size:
            break
        name = _NAMES.get(octets[0])
        if name is None:
            raise DecodeError(f"TLS: {octets[0]} is no type of a handshake message")
        messages.append(FlightMessage(name, octets[4 : 4 + size]))
        octets = octets[4 + size :]
    return octets
