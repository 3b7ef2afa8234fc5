from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from phonesim.field.captures.captured_certificates import read_certificate, read_chain
from phonesim.virtual_certificates import shown_certificates, trust_chain

NAME = "fe01.contoso.com"
BEGINS, ENDS = 1_700_000_000, 1_800_000_000
GOOD = shown_certificates("valid", (NAME, "pool.contoso.com"), BEGINS, ENDS)[0]
X400_ADDRESS, EDI_PARTY_NAME = b"\xa3\x02\x30\0", b"\xa5\x04\xa1\x02\x0c\0"


def with_alternative_name(name: bytes) -> bytes:
    """A certificate of NAME with a DNS name and another one in its subjectAltName."""
    names = b"\x82" + bytes([len(NAME)]) + NAME.encode() + name
    common_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return (
        x509.CertificateBuilder(common_name, common_name, key.public_key(), 1)
        .not_valid_before(datetime.datetime.fromtimestamp(BEGINS, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(ENDS, datetime.UTC))
        .add_extension(
            x509.UnrecognizedExtension(
                ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30" + bytes([len(names)]) + names
            ),
            critical=False,
        )
        .sign(key, None)
        .public_bytes(Encoding.DER)
    )


def test_what_matters_of_a_certificate() -> None:
    read = read_certificate(GOOD)
    assert read is not None
    assert (read.subject, read.names) == (NAME, (NAME, "pool.contoso.com"))
    assert (read.not_before, read.not_after) == (BEGINS, ENDS)
    assert read.issuer == "phonesim virtual issuing authority"


@pytest.mark.parametrize("name", [X400_ADDRESS, EDI_PARTY_NAME])
def test_a_name_of_a_rare_kind_leaves_the_subject(name: bytes) -> None:
    read = read_certificate(with_alternative_name(name))
    assert read is not None
    assert (read.subject, read.names) == (NAME, (NAME,))


def test_what_matters_of_a_chain() -> None:
    subjects, problem = read_chain(trust_chain(with_issuing=True))
    assert set(subjects) == {"phonesim virtual root", "phonesim virtual issuing authority"}
    assert problem == ""
    assert read_chain(b"")[1] == "it is empty"
    assert read_chain(b"<html>")[1].startswith("it cannot be read: ")


@given(data=st.binary(max_size=200), at=st.integers(0, len(GOOD)), size=st.integers(0, 8))
def test_any_octets_are_read_or_are_no_certificate(data: bytes, at: int, size: int) -> None:
    for octets in (data, GOOD[:at] + data[:size] + GOOD[at + size :]):
        read = read_certificate(octets)
        assert read is None or read.not_before <= 1 << 40
        read_chain(octets)
