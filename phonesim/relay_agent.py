"""A DHCP relay agent, pure: what it does to a request on its way to the servers, and to an answer.

A request gets the agent's address as giaddr, one hop more, and option 82, which is the
last of its options; everything else is left as the client wrote it, `secs` and the
broadcast flag included. An answer is for a client of this agent if it names the agent in
giaddr and does not bring the option 82 of somebody else back. Servers that know nothing
of option 82 send none back, and their answers are good (RFC 3046 section 2.1). The
client never sees the option.

What is sent to a server's own address is none of an agent's business: it is routed.

Specifications: RFC 1542 section 4.1, RFC 2131 section 4.1, RFC 3046 sections 2 and 3.
"""

from __future__ import annotations

import msgspec

from phonesim.wire.dhcp import BOOTREPLY, DhcpMessage, Option

_RELAY_AGENT_INFORMATION = int(Option.RELAY_AGENT_INFORMATION)


class Circuit(msgspec.Struct, frozen=True):
    """Where an agent hears one client: the agent's address there, and the client's option 82.

    Without `information` the agent adds no option 82.
    """

    giaddr: str
    information: bytes = b""


def relay_request(message: DhcpMessage, circuit: Circuit) -> DhcpMessage:
    """Return a client's request as the servers get it."""
    options = message.options
    if circuit.information:
        options = {**options, _RELAY_AGENT_INFORMATION: circuit.information}
    return msgspec.structs.replace(
        message, hops=message.hops + 1, giaddr=circuit.giaddr, options=options
    )


def refuse_answer(message: DhcpMessage, circuit: Circuit) -> str | None:
    """Return why the agent at `circuit` does not pass an answer on, None if it does."""
    if message.op != BOOTREPLY:
        return "it is no BOOTREPLY"
    if message.giaddr != circuit.giaddr:
        return "its giaddr is not the address that it came to"
    returned = message.options.get(_RELAY_AGENT_INFORMATION)
    if returned is not None and returned != circuit.information:
        return "its option 82 is not the phone's"
    return None


def lacks_information(message: DhcpMessage, circuit: Circuit) -> bool:
    """Say whether an answer lacks the option 82 that RFC 3046 section 2.2 wants sent back."""
    return bool(circuit.information) and _RELAY_AGENT_INFORMATION not in message.options


def relay_answer(message: DhcpMessage) -> DhcpMessage:
    """Return an answer as the client gets it."""
    if _RELAY_AGENT_INFORMATION not in message.options:
        return message
    options = dict(message.options)
    del options[_RELAY_AGENT_INFORMATION]
    return msgspec.structs.replace(message, options=options)
