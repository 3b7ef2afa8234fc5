"""A process that makes RSA keys: `python -m phonesim.drivers.key_worker COUNT`.

Each key is one line of hexadecimal DER (PKCS#1) on standard output, which is a pipe to
the key pool: no key touches a disk.
"""

from __future__ import annotations

import sys

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEY_SIZE = 2048


def make_key() -> bytes:
    """A new key, unencrypted DER PKCS#1."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def main(count: int) -> None:
    """Write `count` keys; end quietly when nobody reads them any more."""
    try:
        for _ in range(count):
            sys.stdout.write(make_key().hex() + "\n")
            sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
