"""The server's side of NTLM at SIP, for one user.

Specifications: sign-in reference section 16.1, [MS-NLMP] section 3.2.5.
"""

from __future__ import annotations

from phonesim.errors import DecodeError
from phonesim.mocksite.users import User
from phonesim.wire.ntlm import (
    FLAGS,
    NtlmChallenge,
    check_answer,
    decode_authenticate,
    encode_challenge,
    target_info,
)
from phonesim.wire.sipae import SigningKeys


class NtlmAcceptor:
    """Implements `phonesim.mocksite.exchange.ServerHandshake`; `challenge` is 8 random octets."""

    certificate = b""

    def __init__(self, user: User, server: str, challenge: bytes) -> None:
        self.keys: SigningKeys | None = None
        self._user = user
        self._server = server
        self._challenge = challenge
        self._has_challenged = False

    def advance(self, received: bytes) -> bytes:
        """Take a token, return the next one; `DecodeError` says what is wrong."""
        if not self._has_challenged:
            if received:
                raise DecodeError("NTLM: the first token is not empty")
            self._has_challenged = True
            name, _, domain = self._server.partition(".")
            challenge = NtlmChallenge(
                flags=FLAGS,
                server_challenge=self._challenge,
                target_name=domain,
                target_info=target_info(domain, name),
            )
            return encode_challenge(challenge)
        message = decode_authenticate(received)
        if message.user.lower() not in self._names():
            raise DecodeError(f"NTLM: the user is {message.user[:40]!r}")
        self.keys = check_answer(message, self._challenge, self._user.password)
        if self.keys is None:
            raise DecodeError("NTLM: the password is wrong")
        return b""

    def _names(self) -> tuple[str, ...]:
        address = self._user.address
        return address, address.partition("@")[0], self._user.number.lower()
