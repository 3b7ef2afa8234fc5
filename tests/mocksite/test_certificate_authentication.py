import hashlib

import pytest

from phonesim.config.site_profile import UserRange
from phonesim.mocksite.certificate_authentication import CertificateAuthentication
from phonesim.mocksite.users import User, UserDirectory
from phonesim.mocksite.web_tickets import CLOCK_SKEW
from phonesim.wire.message_signature import CertificateSignature, certificate_signed_info
from phonesim.wire.web_ticket import CertificateCredential

NOW = 1_767_596_400
USERS = (
    UserRange(sip_uri="sip:alice@contoso.com", number="1", pin="24680"),
    UserRange(sip_uri="sip:bob@contoso.com", number="2", pin="13579", is_enabled=False),
)


class Server:
    def __init__(self, authority):
        self.authority = authority
        self.users = UserDirectory(USERS)
        self.machine = CertificateAuthentication(self.users, authority)

    def certificate(self, name="alice", until=NOW + 86400, *, is_published=True):
        certificate = self.authority.issue(f"{name}@contoso.com".encode(), NOW - 60, until)
        user = self.users.by_sip_uri(f"sip:{name}@contoso.com")
        if is_published and user is not None:
            self.users.publish(user, "device", certificate)
        return certificate

    def ask(self, certificate, *, created=NOW, expires=None, signer="alice", clock=NOW):
        """The user, or why not."""
        expires = created + 300 if expires is None else expires
        data = certificate_signed_info(created, expires)
        value = hashlib.sha1(f"{signer}@contoso.com".encode() + data).digest()
        credential = CertificateCredential(
            created=created,
            expires=expires,
            signature=CertificateSignature(certificate=certificate, signed_info=data, value=value),
        )
        found = self.machine.authenticate(credential, clock)
        return found.sip_uri if isinstance(found, User) else found.why


@pytest.fixture
def server(authority):
    return Server(authority)


def test_a_certificate_stands_for_its_user(server):
    assert server.ask(server.certificate()) == "sip:alice@contoso.com"


def test_what_was_shown_once_is_not_taken_again(server):
    certificate = server.certificate()
    server.ask(certificate)
    assert "used before" in server.ask(certificate, clock=NOW + 1)
    assert server.ask(certificate, created=NOW + 1, clock=NOW + 1) == "sip:alice@contoso.com"


def test_what_was_shown_is_remembered_as_long_as_it_counts(server):
    certificate = server.certificate()
    for created in range(NOW, NOW + 100 * CLOCK_SKEW, CLOCK_SKEW):
        assert server.ask(certificate, created=created, clock=created).startswith("sip:")
    assert len(server.machine._seen) < 5


@pytest.mark.parametrize(
    ("made", "asked", "why"),
    [
        ({"until": NOW - 1}, {}, "not issued here, or is not valid now"),
        ({}, {"signer": "bob"}, "its key did not sign the Timestamp"),
        ({}, {"created": NOW - 601}, "the Timestamp is not now"),
        ({}, {"created": NOW + CLOCK_SKEW + 1}, "the Timestamp is not now"),
        ({}, {"expires": NOW + 86400}, "the Timestamp is not now"),
        ({"name": "bob"}, {"signer": "bob"}, "no user who may sign in"),
        ({"name": "carol"}, {"signer": "carol"}, "no user who may sign in"),
        ({"is_published": False}, {}, "not the current one of a device"),
    ],
)
def test_a_certificate_that_does_not_count_is_refused(server, made, asked, why):
    assert why in server.ask(server.certificate(**made), **asked)


def test_a_certificate_of_another_authority_is_refused(server):
    assert "not issued here" in server.ask(b"FOREIGN|alice@contoso.com|0|9999999999")


def test_a_newer_certificate_of_the_device_replaces_it(server):
    old = server.certificate()
    server.certificate(until=NOW + 99999)
    assert "not the current one" in server.ask(old)
