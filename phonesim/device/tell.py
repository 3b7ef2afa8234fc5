"""How the machines that lead a phone speak to the others: by name, for those are made late."""

from __future__ import annotations

from typing import Literal, NamedTuple

from phonesim.device.events import Event

MachineName = Literal[
    "attachment",
    "lldp",
    "dhcp",
    "resolver",
    "clock",
    "discovery",
    "sign_in",
    "renewal",
    "line",
    "cache",
    "kept",
]
"""An attribute of `phonesim.device.sub_machines.SubMachines`."""


class Tell(NamedTuple):
    """Give an event to a machine, before anything that was returned after this."""

    machine: MachineName
    event: Event
