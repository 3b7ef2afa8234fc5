"""The bindings of a Registrar: which endpoints its users have, and on which connections.

Bindings end by the clock: those that are over count for nothing at the user's next REGISTER. A
user has only so many; one more pushes the oldest out.

Specifications: RFC 3261 section 10.3 (steps 6 to 8), [MS-SIPRE] section 2.2.5 (+sip.instance),
sign-in reference section 17.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from phonesim.wire.endpoint import gruu, sip_instance
from phonesim.wire.sip import Contact, NameAddress, SipRequest

_UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")


class Binding(msgspec.Struct, gc=False):
    """One endpoint of a user. `instance` is the UUID in upper case.

    `sender` is the endpoint's own From, `connection_id` where its last REGISTER came.
    """

    aor: str
    instance: str
    epid: str | None
    contact: str
    gruu: str
    sender: NameAddress
    call_id: str
    cseq: int
    connection_id: int
    expires_at: float


class Endpoint(msgspec.Struct, frozen=True):
    """Whom a REGISTER is from: the UUID, and the binding that it has already."""

    instance: str
    held: Binding | None


class Bindings:
    """All bindings, by AOR and by endpoint. A user has at most `maximum`."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._by_aor: dict[str, dict[str, Binding]] = {}

    def contacts(self, aor: str, now: float) -> tuple[Contact, ...]:
        """The current bindings of a user, with the seconds that each still has."""
        return tuple(
            Contact(
                uri=binding.contact,
                expires=round(binding.expires_at - now),
                instance=binding.instance.lower(),
                parameters=(("gruu", binding.gruu),),
            )
            for binding in self._by_aor.get(aor, {}).values()
            if binding.expires_at > now
        )

    def current(self, now: float) -> Iterator[Binding]:
        """Every binding that has not ended."""
        for bindings in self._by_aor.values():
            yield from (each for each in bindings.values() if each.expires_at > now)

    def expire(self, aor: str, now: float) -> None:
        """Forget those of a user that have ended."""
        bindings = self._by_aor.get(aor, {})
        for instance in [key for key, held in bindings.items() if held.expires_at <= now]:
            del bindings[instance]

    def endpoint(self, aor: str, request: SipRequest) -> Endpoint | str:
        """Whom a REGISTER is from, or what is wrong with how it names itself."""
        bindings = self._by_aor.get(aor, {})
        (contact,) = request.contacts
        epid = request.sender.epid
        instance = contact.instance.upper() if contact.instance else ""
        held = bindings.get(instance) if instance else None
        if epid is not None and (held is None or held.epid != epid):
            derived = sip_instance(epid) if epid.isascii() else ""
            if instance and instance != derived:
                return "+sip.instance is not derived from epid"
            instance = derived
            held = bindings.get(instance)
        if _UUID.fullmatch(instance) is None:
            return "+sip.instance is no UUID"
        return Endpoint(instance, held)

    def bind(
        self,
        aor: str,
        endpoint: Endpoint,
        request: SipRequest,
        connection_id: int,
        expires_at: float,
    ) -> Binding | None:
        """Bind an endpoint; returns the binding that had to go for it."""
        bindings = self._by_aor.setdefault(aor, {})
        instance, held = endpoint.instance, endpoint.held
        pushed_out = None
        if held is not None:
            del bindings[instance]
        elif len(bindings) >= self._maximum:
            pushed_out = bindings.pop(next(iter(bindings)))
        bindings[instance] = Binding(
            aor=aor,
            instance=instance,
            epid=request.sender.epid,
            contact=request.contacts[0].uri,
            gruu=held.gruu if held is not None else gruu(aor, instance),
            sender=request.sender,
            call_id=request.call_id,
            cseq=request.cseq,
            connection_id=connection_id,
            expires_at=expires_at,
        )
        return pushed_out

    def remove(self, aor: str, instance: str) -> None:
        """End one binding of a user."""
        bindings = self._by_aor.get(aor, {})
        bindings.pop(instance, None)
        if not bindings:
            self._by_aor.pop(aor, None)

    def clear(self, aor: str) -> None:
        """End all of them."""
        self._by_aor.pop(aor, None)
