"""Options 43 and 120: the two that tell a phone where to sign in.

Specifications: RFC 3361 (option 120), device reference section 6.2 (option 43
sub-options 1-5 and 10, all values ASCII).
"""

from __future__ import annotations

import msgspec


class UcOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Option 43, decoded. A sub-option that is absent or unusable is None.

    `warnings` says, in words for a field engineer, what was wrong with the
    bytes; what could be read is still there.
    """

    uc_identifier: str | None = None
    url_scheme: str | None = None
    web_server_fqdn: str | None = None
    web_server_port: int | None = None
    cert_prov_rel_path: str | None = None
    vlan_id: int | None = None
    warnings: tuple[str, ...] = ()


class SipServers(msgspec.Struct, frozen=True, kw_only=True):
    """Option 120, decoded: `names` of encoding 0 in order, `addresses` of encoding 1.

    `warnings` says what was wrong, or that a raw ASCII name was accepted.
    """

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
