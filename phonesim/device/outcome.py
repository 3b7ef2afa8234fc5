"""How a boot goes: its stages, and the closed list of reasons for which it fails."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The stages of a boot, in order."""

    VLAN = "vlan"
    IP = "ip"
    TIME = "time"
    DISCOVERY = "discovery"
    CHAIN = "chain"
    TICKET = "ticket"
    CERTIFICATE = "certificate"
    REGISTER = "register"
    COMMIT = "commit"


class FailureReason(StrEnum):
    """Why a boot failed. `phonesim.device.boot` says at which stage each can occur."""

    NO_LEASE = "no-lease"
    ADDRESS_IN_USE = "address-in-use"
    LEASE_LOST = "lease-lost"
    CLOCK_NOT_SET = "clock-not-set"
    WEB_SERVICES_NOT_LOCATED = "web-services-not-located"
    WEB_SERVER_NAME_UNRESOLVED = "web-server-name-unresolved"
    WEB_SERVICES_REFUSED = "web-services-refused"
    WEB_SERVICES_TIMEOUT = "web-services-timeout"
    WEB_SERVICES_NOT_FOUND = "web-services-not-found"
    WEB_SERVICES_UNAVAILABLE = "web-services-unavailable"
    WEB_SERVICES_UNUSABLE = "web-services-unusable"
    WEB_SERVICES_FAULT = "web-services-fault"
    WEB_SERVICES_NO_COMMON_SCHEME = "web-services-no-common-scheme"
    WEB_SERVICES_HANDSHAKE_FAILED = "web-services-handshake-failed"
    MALFORMED_ANSWER = "malformed-answer"
    CHAIN_UNUSABLE = "chain-unusable"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_WILDCARD = "certificate-wildcard"
    CERTIFICATE_NAME_MISMATCH = "certificate-name-mismatch"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_ISSUER_MISSING = "certificate-issuer-missing"
    TLS_VERSION_REFUSED = "tls-version-refused"
    TLS_FAILED = "tls-failed"
    PASSWORD_INCORRECT = "password-incorrect"  # noqa: S105 - a reason
    PIN_INCORRECT = "pin-incorrect"
    PIN_LOCKED = "pin-locked"
    PIN_EXPIRED = "pin-expired"
    PIN_NOT_SET = "pin-not-set"
    PIN_NOT_ENABLED = "pin-not-enabled"
    PIN_NOT_UNIQUE = "pin-not-unique"
    USER_NOT_UNIQUE = "user-not-unique"
    USER_UNAUTHORIZED = "user-unauthorized"
    USER_UNKNOWN = "user-unknown"
    USER_DISABLED = "user-disabled"
    CERTIFICATE_NOT_ISSUED = "certificate-not-issued"
    CERTIFICATE_UNUSABLE = "certificate-unusable"
    REGISTRAR_NOT_LOCATED = "registrar-not-located"
    REGISTRAR_NAME_UNRESOLVED = "registrar-name-unresolved"
    REGISTRAR_REFUSED = "registrar-refused"
    REGISTRAR_TIMEOUT = "registrar-timeout"
    REGISTRAR_UNAVAILABLE = "registrar-unavailable"
    REGISTRATION_FORBIDDEN = "registration-forbidden"
    REGISTRATION_NOT_FOUND = "registration-not-found"
    REGISTRATION_UNAUTHORIZED = "registration-unauthorized"
    REGISTRATION_NO_COMMON_SCHEME = "registration-no-common-scheme"
    REGISTRATION_HANDSHAKE_FAILED = "registration-handshake-failed"
    REGISTRAR_UNVERIFIED = "registrar-unverified"
    REGISTRATION_REJECTED = "registration-rejected"
    REGISTRAR_REDIRECTS = "registrar-redirects"
    REGISTRATION_DISPLACED = "registration-displaced"
    REGISTRATION_LOST = "registration-lost"
    CRASHED = "crashed"
    UNSETTLED = "unsettled"


class ConnectFailure(StrEnum):
    """Why a TCP or TLS connection, or an HTTP exchange over one, could not be had."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_WILDCARD = "certificate-wildcard"
    CERTIFICATE_NAME_MISMATCH = "certificate-name-mismatch"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_ISSUER_MISSING = "certificate-issuer-missing"
    CHAIN_UNUSABLE = "chain-unusable"
    TLS_VERSION_REFUSED = "tls-version-refused"
    TLS_FAILED = "tls-failed"
    MALFORMED = "malformed"


PEER_REASONS = {
    ConnectFailure.CERTIFICATE_EXPIRED: FailureReason.CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_NOT_YET_VALID: FailureReason.CERTIFICATE_NOT_YET_VALID,
    ConnectFailure.CERTIFICATE_WILDCARD: FailureReason.CERTIFICATE_WILDCARD,
    ConnectFailure.CERTIFICATE_NAME_MISMATCH: FailureReason.CERTIFICATE_NAME_MISMATCH,
    ConnectFailure.CERTIFICATE_UNTRUSTED: FailureReason.CERTIFICATE_UNTRUSTED,
    ConnectFailure.CERTIFICATE_ISSUER_MISSING: FailureReason.CERTIFICATE_ISSUER_MISSING,
    ConnectFailure.CHAIN_UNUSABLE: FailureReason.CHAIN_UNUSABLE,
    ConnectFailure.TLS_VERSION_REFUSED: FailureReason.TLS_VERSION_REFUSED,
    ConnectFailure.TLS_FAILED: FailureReason.TLS_FAILED,
    ConnectFailure.MALFORMED: FailureReason.MALFORMED_ANSWER,
}
"""Reasons that are the same for the web services and the Registrar."""
