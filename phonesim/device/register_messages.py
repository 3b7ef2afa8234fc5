"""REGISTER as these phones write it, and what a Registrar's answers to it mean.

Specifications: RFC 3261 sections 10.2 and 21, [MS-SIPREGE], [MS-OCER], sign-in reference
sections 17, 19 and 20.
"""

from __future__ import annotations

import random
import re

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device.events import RegistrarAddress, SipEndpoint
from phonesim.device.outcome import FailureReason
from phonesim.errors import DecodeError
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.wire.inband_provisioning import EVENT as PROVISIONING_EVENT
from phonesim.wire.registration_event import EVENT as REGISTRATION_EVENT
from phonesim.wire.sip import Contact, NameAddress, SipRequest, SipResponse, header
from phonesim.wire.sip_server import Diagnostics, read_server_uri

DEREGISTERED_REASONS = {
    "rejected": FailureReason.USER_DISABLED,
    "unregistered": FailureReason.REGISTRATION_DISPLACED,
}
"""The kinds of deregistration after which the phone stays out."""

_STATUS_REASONS = {
    401: FailureReason.REGISTRATION_UNAUTHORIZED,
    403: FailureReason.REGISTRATION_FORBIDDEN,
    404: FailureReason.REGISTRATION_NOT_FOUND,
    407: FailureReason.REGISTRATION_UNAUTHORIZED,
    408: FailureReason.REGISTRAR_UNAVAILABLE,
    480: FailureReason.REGISTRAR_UNAVAILABLE,
}
_USER_DISABLED = 4141

_METHODS = "INVITE, MESSAGE, INFO, OPTIONS, BYE, CANCEL, NOTIFY, ACK, REFER, BENOTIFY"
_KEEP_ALIVE_TIMEOUT = re.compile(r";\s*timeout=([0-9]{1,6})")
_PRESENCE_STATE = re.compile(r'(?:^|;)\s*([a-z\-]+)="?([A-Za-z\-]+)"?')


class RegisterWriter:
    """Writes the REGISTERs of one phone and user over one connection after another."""

    __slots__ = (
        "_cseq",
        "_from_tag",
        "_headers",
        "_mac",
        "_ms_opaque",
        "_rng",
        "call_id",
        "epid",
        "instance",
        "local",
        "sip_uri",
    )

    def __init__(
        self, config: RegistrationConfig, mac: bytes, user_agent: str, rng: random.Random
    ) -> None:
        self._mac = mac
        self._rng = rng
        self._headers = (
            ("User-Agent", user_agent),
            *(("Supported", tag) for tag in config.supported),
            ("ms-keep-alive", "UAC;hop-hop=yes"),
            ("Event", "registration"),
            ("Allow-Events", f"{REGISTRATION_EVENT}, {PROVISIONING_EVENT}"),
        )
        self.sip_uri = self.epid = self.instance = ""
        self.local = ("", 0)
        self.call_id = self._from_tag = self._ms_opaque = ""
        self._cseq = 0

    def begin_user(self, sip_uri: str) -> None:
        """Write for that user, as the endpoint that the phone is for them."""
        self.sip_uri = sip_uri
        self.epid = epid_for(self._mac, sip_uri)
        self.instance = sip_instance(self.epid)

    def begin_connection(self, address: str, port: int) -> None:
        """Write over a new connection, from there."""
        self.local = (address, port)
        self._ms_opaque = f"{self._rng.getrandbits(40):010x}"
        self.begin_dialog()

    def begin_dialog(self) -> None:
        """Begin a new registration, which the Registrar shall not take for a refresh."""
        self.call_id = f"{self._rng.getrandbits(128):032x}"
        self._from_tag = f"{self._rng.getrandbits(40):010x}"
        self._cseq = 0

    def write(self, transport: str, expires: int) -> SipRequest:
        """The next REGISTER, without credentials."""
        self._cseq += 1
        address, port = self.local
        branch = f"z9hG4bK{self._rng.getrandbits(64):016x}"
        return SipRequest(
            method="REGISTER",
            uri=f"sip:{self.sip_uri.partition('@')[2]}",
            vias=(f"SIP/2.0/{transport.upper()} {address}:{port};branch={branch}",),
            sender=NameAddress(uri=self.sip_uri, tag=self._from_tag, epid=self.epid),
            recipient=NameAddress(uri=self.sip_uri),
            call_id=self.call_id,
            cseq=self._cseq,
            contacts=(
                Contact(
                    uri=f"sip:{address}:{port};transport={transport};ms-opaque={self._ms_opaque}",
                    instance=self.instance,
                    parameters=(("methods", _METHODS), ("proxy", "replace")),
                ),
            ),
            expires=expires,
            headers=self._headers,
        )

    def endpoint(self, registrar: RegistrarAddress, own_gruu: str) -> SipEndpoint:
        """What has registered there; `own_gruu` is empty where the Registrar gave none."""
        address, port = self.local
        transport = registrar.transport
        return SipEndpoint(
            registrar=registrar.name,
            host=registrar.host,
            transport=transport,
            local_address=address,
            local_port=port,
            sip_uri=self.sip_uri,
            epid=self.epid,
            instance=self.instance,
            contact=own_gruu or f"sip:{address}:{port};transport={transport}",
        )


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a 200 says. `expires` and `gruu` are those of the phone's own contact.

    `keep_alive_timeout` is None without one; `cluster`, `connected` and `services` are
    primary-cluster-type, is-connected-to-primary and user-services-state.
    """

    expires: int
    gruu: str
    keep_alive_timeout: int | None
    action: str
    cluster: str
    connected: str
    services: str
    logon: str
    offers_provisioning: bool

    @property
    def told(self) -> tuple[str, ...]:
        """What the Registrar says of itself, of its user and of the phone."""
        return self.cluster, self.connected, self.services, self.logon, self.gruu

    @property
    def is_survivable(self) -> bool:
        """Whether the Registrar is not the primary, or has no User Services."""
        return self.connected == "no" or self.services == "unavailable"


def read_acceptance(response: SipResponse, writer: RegisterWriter, asked: int) -> Acceptance:
    """Read a 200 to a REGISTER that asked for `asked` seconds."""
    presence = dict(_PRESENCE_STATE.findall(header(response, "presence-state") or ""))
    keep_alive = _KEEP_ALIVE_TIMEOUT.search(header(response, "ms-keep-alive") or "")
    own = _own_contact(response, writer)
    expires = asked if response.expires is None else response.expires
    if own is not None and own.expires is not None:
        expires = own.expires
    return Acceptance(
        expires=expires,
        gruu="" if own is None else dict(own.parameters).get("gruu", ""),
        keep_alive_timeout=None if keep_alive is None else int(keep_alive.group(1)),
        action=presence.get("register-action", ""),
        cluster=presence.get("primary-cluster-type", ""),
        connected=presence.get("is-connected-to-primary", ""),
        services=presence.get("user-services-state", ""),
        logon=header(response, "ms-user-logon-data") or "",
        offers_provisioning=PROVISIONING_EVENT in (header(response, "Allow-Events") or ""),
    )


def _own_contact(response: SipResponse, writer: RegisterWriter) -> Contact | None:
    """Our own binding (RFC 3261 section 10.2.4): by its UUID, or else by the address."""
    instance = writer.instance.lower()
    address, port = writer.local
    for contact in response.contacts:
        if (contact.instance or "").lower() == instance or contact.uri.startswith(
            f"sip:{address}:{port}"
        ):
            return contact
    return None


def read_redirect(response: SipResponse, source: str) -> tuple[tuple[RegistrarAddress, ...], str]:
    """The Registrars that a 301 names, the primary and perhaps its backup, or why there are none.

    `source` says who named them.
    """
    targets, faults = [], []
    for contact in response.contacts:
        try:
            targets.append(named_by(contact.uri, source))
        except DecodeError as error:
            faults.append(str(error))
    return tuple(targets), "; ".join(faults) or "no Contact"


def named_by(uri: str, source: str) -> RegistrarAddress:
    """The Registrar that a SIP URI names; DecodeError if it names none."""
    server = read_server_uri(uri)
    return RegistrarAddress(
        host=server.host, port=server.port, transport=server.transport, source=source
    )


def refusal_reason(status: int, diagnostics: Diagnostics | None) -> FailureReason:
    """Why a registration failed that was answered so."""
    if diagnostics is not None and diagnostics.id == _USER_DISABLED:
        return FailureReason.USER_DISABLED
    reason = _STATUS_REASONS.get(status)
    if reason is not None:
        return reason
    if 500 <= status < 600:
        return FailureReason.REGISTRAR_UNAVAILABLE
    return FailureReason.REGISTRATION_REJECTED
