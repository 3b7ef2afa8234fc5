"""The states of a registration, each with its own data."""

from __future__ import annotations

import msgspec

from phonesim.wire.sip import SipResponse


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing under way."""


class Connecting(msgspec.Struct, frozen=True, gc=False):
    """A connection to a Registrar is being got."""


class Registering(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A REGISTER waits for its answer.

    `was_registered`: it refreshes a binding. `attempt` counts the requests that it
    took so far. `challenge` is the answer that the next request must satisfy, while that is
    being prepared; `refused` says why the last answer was not taken for the Registrar's.
    """

    cseq: int
    started_at: float
    timeout_at: float
    was_registered: bool
    attempt: int
    challenge: SipResponse | None = None
    refused: str = ""


class Bound(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The binding holds until it is refreshed."""

    refresh_at: float


class Pausing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """There is no binding; another round of attempts follows.

    Without `begins_round` the present one goes on: the Registrar to go to is known.
    """

    reconnect_at: float
    begins_round: bool = True


class Deregistering(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A REGISTER with Expires 0 waits for its answer; `attempt` and `challenge` as above."""

    cseq: int
    timeout_at: float
    attempt: int
    challenge: SipResponse | None = None


State = Idle | Connecting | Registering | Bound | Pausing | Deregistering
