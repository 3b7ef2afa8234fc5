"""A client of TLS-DSK, made of the wire's functions alone, as a test wants it to behave."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from phonesim.virtual_handshake import VirtualClientHandshake
from phonesim.wire.sip import SipRequest, SipResponse, authentication_text
from phonesim.wire.sipae import (
    AUTHENTICATION_INFO,
    AUTHORIZATION,
    TLS_DSK,
    Authorization,
    authentication_info,
    credentials_of,
    read_offer,
    signature_buffer,
)

TARGET = "fe01.contoso.com"
REALM = "SIP Communications Service"
CRAND = "0a1b2c3d"


class DskClient:
    """Shakes hands over `send`, a function from request to response, then signs."""

    def __init__(self, send, certificate, target=TARGET, version=4):
        self.send = send
        self.target = target
        self.version = version
        self.tls = VirtualClientHandshake("seed", target, certificate)
        self.opaque = None
        self.requests = 0
        self.answers = 0

    def authorization(self, **fields):
        return Authorization(
            scheme=TLS_DSK,
            realm=REALM,
            targetname=self.target,
            version=self.version,
            opaque=self.opaque,
            **fields,
        )

    def flight(self, request, octets):
        """Send one flight; return the response."""
        authorization = self.authorization(gssapi_data=octets)
        return self.send(
            msgspec.structs.replace(request, credentials=(credentials_of(authorization),))
        )

    def shake(self, request):
        """Shake hands; return the response to the last flight."""
        response = self.flight(request, self.tls.advance(b""))
        while self.tls.keys is None:
            offer = next(filter(None, map(read_offer, response.challenges)), None)
            if response.status != 401 or offer is None or offer.gssapi_data is None:
                return response
            self.opaque = offer.opaque
            octets = self.tls.advance(offer.gssapi_data)
            if octets:
                response = self.flight(request, octets)
        return response

    def sign(self, message, cnum=None, **changes) -> SipRequest:
        """The request with the next signature, or one for an answer; `changes` spoil it."""
        if cnum is None:
            self.requests += 1
            cnum = self.requests
        buffer = signature_buffer(TLS_DSK, REALM, self.target, self.version, CRAND, cnum, message)
        signed = self.authorization(
            crand=CRAND, cnum=cnum, response=self.tls.keys.client.sign(buffer)
        )
        credentials = credentials_of(msgspec.structs.replace(signed, **changes))
        if isinstance(message, SipResponse):
            return SimpleNamespace(credentials=(credentials,))
        return msgspec.structs.replace(message, credentials=(credentials,))

    def sign_answer(self, response: SipResponse) -> SipResponse:
        """An answer to a request of the server's with the next signature."""
        (credentials,) = self.sign(response).credentials
        headers = (*response.headers, (AUTHORIZATION, authentication_text(credentials)))
        return msgspec.structs.replace(response, headers=headers)

    def verified(self, response: SipResponse) -> SipResponse:
        """The response without its signature, which must be right and the next one."""
        info = authentication_info(response)
        assert info is not None, response
        self.answers += 1
        assert (info.opaque, info.snum) == (self.opaque, self.answers)
        buffer = signature_buffer(
            TLS_DSK, REALM, self.target, self.version, info.srand, info.snum, response
        )
        assert self.tls.keys.server.verifies(buffer, info.rspauth)
        headers = tuple(each for each in response.headers if each[0] != AUTHENTICATION_INFO)
        return msgspec.structs.replace(response, headers=headers)
