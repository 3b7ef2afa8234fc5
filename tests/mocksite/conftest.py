"""What the tests of the mock site share: playing a table, and a certificate authority."""

import hashlib

import pytest

from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import Report
from phonesim.virtual_handshake import VirtualServerHandshake


class StubAuthority:
    """A PKCS#10 is the common name, a certificate names its subject and its validity."""

    def chain(self):
        return b"chain of trust"

    def root(self):
        return b"root"

    def request_subject(self, csr):
        if not csr:
            raise DecodeError("no PKCS#10")
        return csr.decode()

    def issue(self, csr, not_before, not_after):
        return b"CERTIFICATE|%s|%d|%d" % (csr, not_before, not_after)

    def accept_handshake(self, names):
        return VirtualServerHandshake(names)

    def sign(self, data):
        return hashlib.sha1(b"key" + data).digest()

    def has_signed(self, data, signature):
        return signature == self.sign(data)

    def verifies(self, certificate, data, signature):
        return signature == hashlib.sha1(certificate.split(b"|")[1] + data).digest()

    def signing_certificate(self):
        return b"CERTIFICATE"

    def subject(self, certificate, now):
        kind, *rest = certificate.split(b"|")
        if kind != b"CERTIFICATE" or not int(rest[1]) <= now < int(rest[2]):
            return None
        return rest[0].decode()


class Said:
    """Equal to a `Report` whose text contains a fragment."""

    def __init__(self, fragment, *, is_warning=True):
        self.fragment = fragment
        self.is_warning = is_warning

    def __eq__(self, other):
        return (
            isinstance(other, Report)
            and self.fragment in other.text
            and other.is_warning == self.is_warning
        )

    def __repr__(self):
        return f"Said({self.fragment!r}, is_warning={self.is_warning})"


def play_table(machine, table):
    for row, (now, event, expected) in enumerate(table):
        actions = machine.handle(event, now)
        assert actions == expected, f"row {row}, now={now}"


@pytest.fixture
def play():
    return play_table


@pytest.fixture
def said():
    return Said


@pytest.fixture
def authority():
    return StubAuthority()
