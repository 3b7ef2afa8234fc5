"""The Registrar's in-band provisioning: answers SUBSCRIBE with what the site profile says.

A subscriber that offers `ms-piggyback-first-notify` gets the content with the 200, as these
servers do; any other gets a NOTIFY behind it, or a BENOTIFY if it offers `ms-benotify`.

Specifications: RFC 6665 section 4.2, [MS-SIPREGE], sign-in reference section 17.2; the body is
`phonesim.wire.inband_provisioning`'s.
"""

from __future__ import annotations

import random

import msgspec

from phonesim.mocksite.homes import HomeBook
from phonesim.mocksite.users import User
from phonesim.wire.inband_provisioning import CONTENT_TYPE, EVENT, encode_inband_provisioning
from phonesim.wire.sip import NameAddress, SipRequest, SipResponse, header, response_to

MAXIMUM_EXPIRES = 28800
"""The longest subscription that is granted, in seconds [inferred]."""


class InbandProvisioningService:
    """`server` is the Server header of what it sends."""

    def __init__(self, homes: HomeBook, server: str, rng: random.Random) -> None:
        self._homes = homes
        self._server = server
        self._rng = rng

    def subscribe(
        self, request: SipRequest, user: User
    ) -> tuple[SipResponse, SipRequest | None] | None:
        """The 200 and the notification behind it, if any; None if the Event is not served."""
        if (header(request, "Event") or "").strip().lower() != EVENT:
            return None
        supported = {
            tag.strip().lower()
            for name, value in request.headers
            if name.lower() == "supported"
            for tag in value.split(",")
        }
        expires = min(request.expires or 0, MAXIMUM_EXPIRES)
        state = f"active;expires={expires}" if expires else "terminated;expires=0"
        body = encode_inband_provisioning(self._homes.provisioning(user))
        content = (
            ("Event", EVENT),
            ("Subscription-State", state),
            ("Content-Type", CONTENT_TYPE),
        )
        response = response_to(
            request,
            200,
            "OK",
            to_tag=f"{self._rng.getrandbits(128):032X}",
            expires=expires,
            headers=(("Server", self._server),),
        )
        if "ms-piggyback-first-notify" in supported:
            headers = (*response.headers, *content)
            return msgspec.structs.replace(response, headers=headers, body=body), None
        notify = SipRequest(
            method="BENOTIFY" if "ms-benotify" in supported else "NOTIFY",
            uri=request.contacts[0].uri if request.contacts else request.sender.uri,
            vias=(f"SIP/2.0/TLS 0.0.0.0;branch=z9hG4bK{self._rng.getrandbits(64):016X}",),
            sender=response.recipient,
            recipient=NameAddress(
                uri=request.sender.uri, tag=request.sender.tag, epid=request.sender.epid
            ),
            call_id=request.call_id,
            cseq=1,
            headers=content,
            body=body,
        )
        return response, notify
