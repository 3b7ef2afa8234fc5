"""How an endpoint is named: its epid, the +sip.instance that follows from it, its GRUU.

Specifications: [MS-SIPRE] section 2.2.5 (+sip.instance is derived from the
epid), sign-in reference sections 15.4 and 15.5 (the rules, checked against
vectors from real endpoints). How a phone chooses its epid is not published.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from functools import lru_cache

_INSTANCE_NAMESPACE = uuid.UUID("fcacfb03-8a73-46ef-91b1-e5ebeeaba4fe").bytes_le


def epid_for(mac: bytes, sip_uri: str) -> str:
    """Ten lower-case hexadecimal characters, always the same for a device and a user.

    The derivation is this project's own: the documents ask only for stability.
    """
    return hashlib.sha256(mac + sip_uri.encode()).hexdigest()[:10]


@lru_cache(maxsize=4096)
def sip_instance(epid: str) -> str:
    """The UUID of +sip.instance for an epid, in upper case.

    A name-based UUID (version 5), but over the little-endian octets of a
    namespace GUID, so not the one of RFC 9562.
    """
    octets = bytearray(
        hashlib.sha1(_INSTANCE_NAMESPACE + epid.encode(), usedforsecurity=False).digest()[:16]
    )
    octets[7] = octets[7] & 0x0F | 0x50
    octets[8] = octets[8] & 0x3F | 0x80
    time_low, time_mid, time_high = octets[3::-1], octets[5:3:-1], octets[7:5:-1]
    groups = (time_low, time_mid, time_high, octets[8:10], octets[10:])
    return "-".join(group.hex() for group in groups).upper()


def gruu(sip_uri: str, instance: str) -> str:
    """The GRUU of the endpoint `instance` (a UUID) of `sip_uri`."""
    octets = bytes.fromhex(instance.replace("-", ""))
    octets = octets[3::-1] + octets[5:3:-1] + octets[7:5:-1] + octets[8:] + b"\0\0"
    return f"{sip_uri};opaque=user:epid:{base64.urlsafe_b64encode(octets).decode()};gruu"
