"""What phones had on their disks when their boots began: a cache, as a log tells.

The certificate and the lease that a phone may have had are nowhere: it signs in anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from phonesim.device.cache import Contents, InUse
from phonesim.device.events import RegistrarAddress, WebServicesAddress
from phonesim.field.boots import Boot

_PORTS = {"https": 443, "http": 80}
_LEARNED = "learned"


def learn_disks(boots: Sequence[Boot]) -> Mapping[str, bytes]:
    """The cache file of each phone that had one, by phone; `boots` are one a phone."""
    disks: dict[str, bytes] = {}
    for boot in boots:
        in_use = _in_use(boot)
        if in_use is not None:
            disks[boot.phone_id] = msgspec.json.encode(Contents(in_use=in_use))
    return disks


def _in_use(boot: Boot) -> InUse | None:
    used = boot.first("cache_used")
    if used is None:
        return None
    url = urlsplit(str(used["url"]))
    if url.scheme not in _PORTS or not url.hostname:
        return None
    located = {
        str(each["registrar"]).rpartition(":")[0]: each for each in boot.all("registrar_connecting")
    }
    registrars = []
    for host in str(used["registrars"]).split("+"):
        seen = located.get(host)
        port = "5061" if seen is None else str(seen["registrar"]).rpartition(":")[2]
        registrars.append(
            RegistrarAddress(
                host=host,
                port=int(port) if port.isdigit() else 5061,
                transport="tcp" if seen is not None and seen["transport"] == "tcp" else "tls",
                source=_LEARNED,
            )
        )
    return InUse(
        web_services=WebServicesAddress(
            scheme=url.scheme,
            host=url.hostname,
            port=url.port or _PORTS[url.scheme],
            path=url.path,
            source=_LEARNED,
        ),
        registrars=tuple(registrars),
        sip_uri="",
    )
