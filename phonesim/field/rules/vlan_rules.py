"""The voice VLAN: what option 43 says of it, and whether anybody is there."""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.sign import find


def find_vlan_option(boot: Boot) -> Iterator[Finding]:
    """Sub-option 10 that holds no VLAN id leaves the phone in the VLAN for data."""
    bad = [
        warning
        for warning in boot.all("option_warning")
        if warning["option"] == 43 and "sub-option 10 " in str(warning["detail"])
    ]
    if bad and not boot.has("vlan_found"):
        detail = f"DHCP server {bad[0]['server']}"
        shown = [evidence_of(each, str(each["detail"])) for each in bad]
        yield find(boot, causes.VLAN_OPTION_MALFORMED, Certainty.CERTAIN, *shown, detail=detail)


def find_dead_vlan(boot: Boot) -> Iterator[Finding]:
    """A VLAN was named, and no DISCOVER in it was answered."""
    named = boot.last("vlan_found")
    if named is None or not boot.is_hurt:
        return
    after = boot.after(named)
    if any(each.name == "dhcp_received" and each["type"] in ("OFFER", "ACK") for each in after):
        return
    silence = [
        each
        for each in after
        if each.name in ("dhcp_no_answer", "dhcp_sent") and each["type"] == "DISCOVER"
    ]
    silence = [each for each in silence if each.name == "dhcp_no_answer" or each["attempt"] == 3]
    if silence:
        detail = f"VLAN {named['vlan']}, named by {named['source']}"
        yield find(
            boot, causes.VOICE_VLAN_DEAD, Certainty.CERTAIN, named, *silence[-1:], detail=detail
        )


RULES = (find_vlan_option, find_dead_vlan)
