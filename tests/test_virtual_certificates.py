"""Certificates of the virtual world, as cryptography reads them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from phonesim.virtual_certificates import (
    ISSUING_NAME,
    ROOT_NAME,
    STRANGER_NAME,
    shown_certificates,
    trust_chain,
)

NAMES = ("fe01.contoso.com", "sip.contoso.com")
BEGINS, ENDS = 1_764_000_000, 1_795_000_000


def common_name(name: x509.Name) -> str:
    return name.rfc4514_string().removeprefix("CN=")


def shown(kind: str) -> list[x509.Certificate]:
    octets = shown_certificates(kind, NAMES, BEGINS, ENDS)
    return [x509.load_der_x509_certificate(each) for each in octets]


@pytest.mark.parametrize(
    ("kind", "names", "issuers"),
    [
        ("valid", NAMES, (ISSUING_NAME, ROOT_NAME)),
        ("expired", NAMES, (ISSUING_NAME, ROOT_NAME)),
        ("wildcard", ("*.contoso.com",), (ISSUING_NAME, ROOT_NAME)),
        ("wrong-name", ("wrong-name.contoso.com",), (ISSUING_NAME, ROOT_NAME)),
        ("untrusted", NAMES, (STRANGER_NAME, STRANGER_NAME)),
        ("no-intermediate", NAMES, (ISSUING_NAME,)),
    ],
)
def test_what_a_server_shows(kind: str, names: tuple[str, ...], issuers: tuple[str, ...]) -> None:
    certificates = shown(kind)
    assert tuple(common_name(each.issuer) for each in certificates) == issuers
    leaf = certificates[0]
    extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert tuple(extension.value.get_values_for_type(x509.DNSName)) == names
    assert leaf.not_valid_before_utc.timestamp() == BEGINS
    assert leaf.not_valid_after_utc.timestamp() == ENDS
    if len(certificates) > 1:
        leaf.verify_directly_issued_by(certificates[1])


def test_the_chain_of_trust_is_a_bag() -> None:
    whole, root = (
        pkcs7.load_der_pkcs7_certificates(trust_chain(with_issuing=has_issuing))
        for has_issuing in (True, False)
    )
    assert {common_name(each.subject) for each in whole} == {ISSUING_NAME, ROOT_NAME}
    assert [common_name(each.subject) for each in root] == [ROOT_NAME]
    issuing = next(each for each in whole if common_name(each.subject) == ISSUING_NAME)
    issuing.verify_directly_issued_by(root[0])
    shown("valid")[0].verify_directly_issued_by(issuing)


def test_another_process_makes_the_same_octets() -> None:
    code = (
        "from phonesim.virtual_certificates import *\n"
        f"print(shown_certificates('valid', {NAMES}, {BEGINS}, {ENDS})[0].hex())\n"
        "print(trust_chain(with_issuing=True).hex())"
    )
    came = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    leaf = shown("valid")[0].public_bytes(Encoding.DER).hex()
    assert came.stdout.split() == [leaf, trust_chain(with_issuing=True).hex()]
