"""Who signed this ticket request with the key of a certificate that was issued here.

A certificate counts while it is valid and the current one of a device of its user. The
signed Timestamp has to be now, and is taken once: who heard it cannot show it again.

Specifications: [MS-OCAUTHWS], WS-Security 1.0 X.509 token profile; sign-in reference section 6.
"""

from __future__ import annotations

from phonesim.mocksite.exchange import CertificateAuthority
from phonesim.mocksite.refusal import Refusal, refuse_token
from phonesim.mocksite.users import User, UserDirectory
from phonesim.mocksite.web_tickets import CLOCK_SKEW
from phonesim.wire.web_ticket import CertificateCredential


class CertificateAuthentication:
    """One web server's authentication of certificates."""

    def __init__(self, users: UserDirectory, authority: CertificateAuthority) -> None:
        self._users = users
        self._authority = authority
        self._seen: dict[bytes, int] = {}

    def authenticate(self, credential: CertificateCredential, clock: int) -> User | Refusal:
        """The certificate's user; `clock` is Unix seconds."""
        signature = credential.signature
        self._forget(clock)
        name = self._authority.subject(signature.certificate, clock)
        user = None if name is None else self._users.by_sip_uri(f"sip:{name}")
        if name is None:
            why = "it was not issued here, or is not valid now"
        elif not self._authority.verifies(
            signature.certificate, signature.signed_info, signature.value
        ):
            why = "its key did not sign the Timestamp"
        elif not self._is_now(credential, clock):
            why = "the Timestamp is not now"
        elif signature.value in self._seen:
            why = "the signature was used before"
        elif user is None or not user.is_enabled:
            why = f"{name} is no user who may sign in"
        elif not self._users.is_published(user, signature.certificate):
            why = "it is not the current one of a device of its user"
        else:
            self._seen[signature.value] = credential.expires + CLOCK_SKEW
            return user
        return refuse_token(f"no web ticket for a certificate: {why}", ("subject", name or ""))

    @staticmethod
    def _is_now(credential: CertificateCredential, clock: int) -> bool:
        created, expires = credential.created, credential.expires
        return (
            created - CLOCK_SKEW <= clock < expires + CLOCK_SKEW and expires - created <= CLOCK_SKEW
        )

    def _forget(self, clock: int) -> None:
        if self._seen:
            self._seen = {value: until for value, until in self._seen.items() if until > clock}
