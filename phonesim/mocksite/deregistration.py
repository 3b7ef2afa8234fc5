"""The NOTIFY with which a Registrar ends a binding.

It comes on the endpoint's own connection, in the dialog of its REGISTER: that subscribes to the
event by the way.

Specifications: [MS-SIPREGE] (registration-notify), sign-in reference section 21.
"""

from __future__ import annotations

import random

from phonesim.mocksite.bindings import Binding
from phonesim.wire.registration_event import CONTENT_TYPE, EVENT, deregistration_body
from phonesim.wire.sip import NameAddress, SipRequest
from phonesim.wire.sip_server import SipServer

_DIAGNOSTICS = {
    "unregistered": None,
    "rejected": (4141, "User disabled"),
    "deactivated": (4006, "User not found in pool."),
    "preferred-registrar-change": None,
}


def deregistration_notify(
    binding: Binding,
    kind: str,
    server: SipServer,
    address: str,
    preferred: SipServer | None,
    rng: random.Random,
) -> SipRequest:
    """The NOTIFY for a binding, from `server` at `address`; `preferred` goes into its header."""
    headers = [
        ("Event", EVENT),
        ("subscription-state", "terminated;expires=0"),
        ("Content-Type", CONTENT_TYPE),
    ]
    diagnostics = _DIAGNOSTICS[kind]
    if diagnostics is not None:
        number, text = diagnostics
        value = f'{number};reason="{text}";source="{server.host}"'
        headers.append(("ms-diagnostics-public", value))
    if preferred is not None:
        headers.append(("p-preferred-registrar", f"<{preferred.uri}>"))
    branch = f"z9hG4bK{rng.getrandbits(64):016X}"
    return SipRequest(
        method="NOTIFY",
        uri=binding.contact,
        vias=(f"SIP/2.0/{server.transport.upper()} {address}:{server.port};branch={branch}",),
        sender=NameAddress(uri=binding.aor, tag=f"{rng.getrandbits(128):032X}"),
        recipient=binding.sender,
        call_id=binding.call_id,
        cseq=1,
        headers=tuple(headers),
        body=deregistration_body(kind),
    )
