"""All rules over one boot, without the findings that only follow from another one.

What is found first in a boot often makes much else fail. A row of `FOLLOWS` names what does not
count when the cause before it was found in the same boot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.causes import Cause
from phonesim.field.finding import Certainty, Finding
from phonesim.field.rules import (
    address_rules,
    certificate_rules,
    name_rules,
    option_rules,
    registrar_rules,
    vlan_rules,
    web_rules,
)

RULES = (
    *vlan_rules.RULES,
    *address_rules.RULES,
    *option_rules.RULES,
    *name_rules.RULES,
    *certificate_rules.RULES,
    *web_rules.RULES,
    *registrar_rules.RULES,
)
"""Every rule that looks at one boot."""

ORDER: Mapping[Cause, int] = {cause: number for number, cause in enumerate(causes.CAUSES.values())}
"""Where in a boot a cause shows itself, the earliest first."""

_OF_WEB_SERVERS = frozenset(
    {
        causes.WEB_NAME_UNRESOLVED,
        causes.WEB_SERVICES_404,
        causes.WEB_SERVICES_ERROR,
        causes.WEB_SERVICES_DOWN,
        causes.WEB_SERVICES_SLOW,
        causes.CHAIN_NOT_DOWNLOADABLE,
    }
)
_OF_OPTIONS = frozenset(
    {causes.OPTIONS_MISSING, causes.OPTION_43_MISSING, causes.OPTION_120_MISSING}
)
_OF_NAMES = frozenset(
    {
        causes.DNS_SILENT,
        causes.DNS_FAILS,
        causes.SRV_MISSING,
        causes.WEB_NAME_UNRESOLVED,
        causes.REGISTRAR_NAME_UNRESOLVED,
    }
)

_BY_ABSENCE = (
    _OF_OPTIONS
    | _OF_NAMES
    | {
        causes.DHCP_REFUSES,
        causes.ROGUE_DHCP_SERVER,
        causes.DHCP_SERVERS_DISAGREE,
        causes.INFORM_UNANSWERED,
        causes.INFORM_REFUSED,
        causes.OPTION_43_OTHER_CLASS,
        causes.OPTION_120_STALE,
    }
)
"""Causes that rest on what did not come: only a whole boot makes sure of that."""

FOLLOWS: Mapping[Cause, frozenset[Cause]] = {
    causes.VOICE_VLAN_DEAD: frozenset({causes.DHCP_SILENT, causes.DHCP_POOL_EXHAUSTED}),
    causes.DHCP_POOL_EXHAUSTED: frozenset({causes.DHCP_SILENT}),
    causes.ROGUE_DHCP_SERVER: _OF_OPTIONS
    | _OF_NAMES
    | {causes.DHCP_SERVERS_DISAGREE, causes.CLOCK_WRONG, causes.INFORM_UNANSWERED},
    causes.DHCP_SERVERS_DISAGREE: _OF_OPTIONS | _OF_WEB_SERVERS,
    causes.INFORM_CLASS_WRONG: _OF_OPTIONS
    | {causes.INFORM_UNANSWERED, causes.OPTION_43_OTHER_CLASS},
    causes.OPTIONS_MISSING: _OF_WEB_SERVERS,
    causes.OPTION_43_MISSING: _OF_WEB_SERVERS,
    causes.OPTION_120_STALE: frozenset({causes.REGISTRAR_NAME_UNRESOLVED}),
    causes.DNS_SILENT: frozenset(
        {causes.CLOCK_WRONG, causes.WEB_NAME_UNRESOLVED, causes.REGISTRAR_NAME_UNRESOLVED}
    ),
    causes.DNS_FAILS: frozenset({causes.WEB_NAME_UNRESOLVED, causes.REGISTRAR_NAME_UNRESOLVED}),
    causes.SRV_TARGET_DEAD: _OF_WEB_SERVERS
    | {causes.REGISTRAR_NAME_UNRESOLVED, causes.REGISTRAR_DOWN},
    causes.SRV_TARGET_ALIAS: _OF_WEB_SERVERS
    | {causes.REGISTRAR_NAME_UNRESOLVED, causes.REGISTRAR_DOWN, causes.CERTIFICATE_NAME_MISMATCH},
    causes.REGISTRAR_NOT_REDUNDANT: frozenset({causes.REGISTRAR_DOWN}),
    causes.HOME_POOL_MOVED: frozenset({causes.REGISTRAR_NAME_UNRESOLVED, causes.REGISTRAR_DOWN}),
    causes.CHAIN_UNUSABLE: frozenset({causes.CHAIN_NOT_DOWNLOADABLE}),
    causes.USER_DISABLED: frozenset({causes.REGISTRAR_REFUSES}),
}


def find_in_boot(boot: Boot) -> list[Finding]:
    """What is wrong with a boot, the surest first and of these the earliest in a boot."""
    found = list(_each(boot))
    roots = {each.cause for each in found if each.certainty is not Certainty.POSSIBLE}
    dropped = frozenset().union(*(FOLLOWS.get(cause, frozenset()) for cause in roots))
    kept = [each for each in found if each.cause not in dropped]
    return sorted(kept, key=lambda each: (each.certainty, ORDER[each.cause]))


def _each(boot: Boot) -> Iterator[Finding]:
    for rule in RULES:
        for finding in rule(boot):
            is_bold = finding.certainty is Certainty.CERTAIN and finding.cause in _BY_ABSENCE
            if is_bold and boot.lacks_beginning:
                yield msgspec.structs.replace(finding, certainty=Certainty.LIKELY)
            else:
                yield finding
