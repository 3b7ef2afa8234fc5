"""What each phone of a fleet that only registers was told: Registrars, user, password, trust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.fleet_profile import NO_SITE, FleetProfile
from phonesim.config.site_profile import UserRange
from phonesim.config.typed_registration import TypedRegistration
from phonesim.device.events import RegistrarAddress, RegistrationWanted
from phonesim.errors import ProfileError
from phonesim.world import PhoneSpec

_SOURCE = "typed"


def check_registration(fleet: FleetProfile, registration: TypedRegistration) -> None:
    """`ProfileError` if the phones could not trust the Registrars, or find them."""
    where = f"fleet {fleet.name!r}"
    if fleet.site != NO_SITE and registration.trust is not None:
        raise ProfileError(
            f"{where}: the mock site's certificates are made for the run, and its phones know whom"
            " to trust: leave registration.trust out"
        )
    if fleet.site == NO_SITE and registration.needs_trust and registration.trust is None:
        raise ProfileError(
            f"{where}: nothing is downloaded that a Registrar's certificate could be checked with:"
            " give registration.trust, a file of PEM certificates, or use transport tcp"
        )


def registering(fleet: FleetProfile, device: DeviceProfile) -> DeviceProfile:
    """The model as a fleet uses it that only registers: it has no certificate, and no services.

    `ProfileError` if it knows no way to authenticate with a password.
    """
    registration = fleet.registration
    assert registration is not None
    config = device.registration
    schemes = tuple(scheme for scheme in config.authentication if scheme != "tls-dsk")
    if not schemes:
        raise ProfileError(
            f"fleet {fleet.name!r}: device {device.name} registers with a certificate alone, and"
            " phones with stages [register] have none: add digest to registration.authentication"
        )
    if registration.sip_uri is not None and registration.password is None is config.password:
        raise ProfileError(
            f"fleet {fleet.name!r}: the users of registration.sip_uri have no password: give"
            " registration.password, or registration.password of the device profile"
        )
    password = config.password if registration.password is None else None
    changes = {"authentication": schemes, "provisioning": False, "password": password}
    return device.model_copy(update={"registration": config.model_copy(update=changes)})


def with_registrations(
    fleet: FleetProfile, users: Sequence[UserRange], specs: Sequence[PhoneSpec]
) -> Iterator[PhoneSpec]:
    """Yield the phones, each with the user that it registers; `users` are those of the site.

    Without a trust file they trust nobody: the world of a mock site fills that in.
    `ProfileError` if there are too few users, or a template or the file cannot be used.
    """
    registration = fleet.registration
    assert registration is not None
    chain = b"" if registration.trust is None else read_trust(registration.trust)
    registrars = tuple(
        RegistrarAddress(
            host=each.host, port=each.port_number, transport=each.transport, source=_SOURCE
        )
        for each in registration.registrars
    )
    if registration.sip_uri is not None:
        users = (
            UserRange(
                first=registration.first_user,
                count=len(specs),
                sip_uri=registration.sip_uri,
                number="",
                pin="",
            ),
        )
    known = sum(each.count for each in users)
    if known < len(specs):
        raise ProfileError(
            f"fleet {fleet.name!r}: {len(specs)} phones need as many users, and"
            f" {fleet.users_from or fleet.site!r} has {known}: lower --phones, add users, or give"
            " registration.sip_uri"
        )
    typed = _typed(fleet, users, registration.password)
    for spec, (sip_uri, number, password) in zip(specs, typed, strict=False):
        assert spec.fixed_lease is not None
        wanted = RegistrationWanted(
            registrars=registrars,
            sip_uri=sip_uri,
            certificate=b"",
            chain=chain,
            source=spec.fixed_lease.address,
        )
        yield msgspec.structs.replace(spec, number=number, pin=password, fixed_registration=wanted)


def _typed(
    fleet: FleetProfile, users: Sequence[UserRange], password: str | None
) -> Iterator[tuple[str, str, str]]:
    """Yield SIP URI, number and password of every user, in order."""
    for each in users:
        secret = each.pin if password is None else password
        for n in range(each.first, each.first + each.count):
            try:
                yield each.sip_uri.format(n=n), each.number.format(n=n), secret.format(n=n)
            except (LookupError, ValueError, AttributeError) as error:
                raise ProfileError(
                    f"fleet {fleet.name!r}: user {each.sip_uri!r}, its number or its password"
                    f" cannot be filled in: only {{n}} is known ({error})"
                ) from None


def read_trust(path: str) -> bytes:
    """The certificates of a PEM file as phones keep them, a DER PKCS#7 bag."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    try:
        certificates = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        raise ProfileError(f"registration.trust: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ProfileError(
            f"registration.trust: {path} holds no PEM certificates that can be read"
        ) from None
    return pkcs7.serialize_certificates(certificates, Encoding.DER)
