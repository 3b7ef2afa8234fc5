"""The NOTIFY by which a server ends a registration, and its four kinds.

    unregistered                 the user has too many endpoints
    rejected                     the user is disabled
    deactivated                  the user was moved to another server
    preferred-registrar-change   another Registrar is to be used: header p-preferred-registrar

Specifications: [MS-SIPREGE] (registration-notify), sign-in reference section 21.
"""

from __future__ import annotations

import re

from phonesim.wire.sip import SipRequest, header

EVENT = "registration-notify"
CONTENT_TYPE = "text/registration-event"
KINDS = ("unregistered", "rejected", "deactivated", "preferred-registrar-change")

_BODY = re.compile(rb"deregistered\s*;\s*event\s*=\s*([a-z\-]{1,40})", re.IGNORECASE)


def deregistration_body(kind: str) -> bytes:
    """The body of the NOTIFY."""
    return f"deregistered;event={kind}\r\n".encode()


def deregistration_of(request: SipRequest) -> str | None:
    """The kind of deregistration that a NOTIFY or BENOTIFY tells; None if it tells another thing.

    A kind that is in no document is returned as it stands, in lower case.
    """
    if request.method not in ("NOTIFY", "BENOTIFY"):
        return None
    if (header(request, "Event") or "").partition(";")[0].strip().lower() != EVENT:
        return None
    match = _BODY.match(request.body.strip())
    return None if match is None else match.group(1).decode().lower()
