"""Errors, sorted by whose fault they are.

A peer's fault is data, never an exception that leaves a machine: codecs raise
`DecodeError`, drivers turn it into a `MalformedReceived` event. A user's fault
(`UsageError`, `ProfileError`) ends the program with status 2 and one line.
"""


class PhonesimError(Exception):
    """Base of every error this package raises on purpose."""


class DecodeError(PhonesimError):
    """Bytes from a peer, a file or a capture that are not what they claim to be."""


class UsageError(PhonesimError):
    """The command line, or the machine it runs on, does not permit what was asked."""


class ProfileError(UsageError):
    """A profile that cannot be used; the text names file, line and dotted path."""
