"""What all worlds have in common: the phones they are given, and whom they tell.

A world boots the phones of a plan against a site, performs their actions on a
`PhoneDisk` and on its own links, and tells an `Observer` what came of it.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.fleet_profile import BootKind
from phonesim.device.actions import WriteLog
from phonesim.device.events import Event, Lease, Observation, RegistrationWanted
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.outcome import Stage
from phonesim.device.phone import Phone
from phonesim.device.renewal import Validity
from phonesim.relay_agent import Circuit

CRASH_FILE = "crash.txt"
"""The file on its disk that tells how a phone was lost."""

_SECRETS = frozenset(("assertion", "entropy", "key", "password", "pin", "proof"))


class PhoneSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One phone of a fleet. `phone_id` is its MAC as 00-04-F2-00-00-01.

    `number` and `pin` are what its user types, or `credentials` on a computer; `starts_at` is
    seconds after the run's begin; `seed` feeds its random numbers in the virtual world.
    `first_stage`, `last_stage`, `fixed_lease` and `fixed_registration` are those of `Phone`; a
    phone with the last one has its clock set to the world's. `link` and `circuits` say behind
    which relay agents it is, if any. `first_boot` is how its first boot begins, None for as the
    run's limits say.
    """

    phone_id: str
    mac: bytes
    profile: DeviceProfile
    number: str
    pin: str
    starts_at: float
    seed: str
    first_stage: Stage = Stage.VLAN
    last_stage: Stage = Stage.COMMIT
    fixed_lease: Lease | None = None
    fixed_registration: RegistrationWanted | None = None
    credentials: WindowsCredentials | None = None
    link: str = ""
    circuits: tuple[Circuit, ...] = ()
    first_boot: BootKind | None = None

    @property
    def may_register(self) -> bool:
        """Whether the phone comes to have a connection to a Registrar."""
        return self.last_stage in (Stage.REGISTER, Stage.COMMIT)


def new_phone(spec: PhoneSpec, rng: random.Random, validity: Validity) -> Phone:
    """The phone of `spec` before a boot, with `rng` for its xids and delays.

    `validity` reads the certificates of this world.
    """
    return Phone(
        spec.profile,
        spec.mac,
        spec.number,
        spec.pin,
        rng,
        spec.last_stage,
        spec.fixed_lease,
        spec.first_stage,
        validity,
        fixed_registration=spec.fixed_registration,
        credentials=spec.credentials,
    )


class PhoneDisk(Protocol):
    """A phone's virtual disk."""

    def files(self) -> Mapping[str, bytes]:
        """Every file but the logs, by name."""
        ...

    def write_file(self, name: str, data: bytes) -> None:
        """Write a whole file, atomically."""
        ...

    def delete_file(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def append_log(self, line: WriteLog) -> None:
        """Append records to the device log."""
        ...

    def settled(self, *, is_well: bool) -> None:
        """A boot came to an end: a disk that keeps failures only knows by this which it was."""
        ...

    def flush(self) -> None:
        """Put everything that was appended where a reader finds it."""
        ...


def crash_report(error: BaseException, happened: Iterable[tuple[float, Event]]) -> bytes:
    """What is left of a phone whose machine raised: why, and what it was told last, and when.

    Asterisks stand for secrets; of its files only the sizes are told.
    """
    trace = "".join(traceback.format_exception(error))
    events = "".join(f"{now:.6f} {_masked(event)}\n" for now, event in happened)
    return f"{trace}\n{events}".encode()


def _masked(value: object) -> str:
    """The value's repr without its secrets."""
    match value:
        case msgspec.Struct():
            fields = ", ".join(
                f"{name}={'***' if name in _SECRETS else _masked(getattr(value, name))}"
                for name in value.__struct_fields__
            )
            return f"{type(value).__name__}({fields})"
        case tuple():
            return f"({', '.join(map(_masked, value))}{',' * (len(value) == 1)})"
        case Mapping():
            sizes = (
                f"{name!r}: {f'<{len(held)} octets>' if isinstance(held, bytes) else _masked(held)}"
                for name, held in value.items()
            )
            return f"{{{', '.join(sizes)}}}"
        case _:
            return repr(value)


def prepare_disk(disk: PhoneDisk, kind: BootKind) -> None:
    """Make a disk what a boot of that kind begins with."""
    if kind == "cold":
        for name in list(disk.files()):
            disk.delete_file(name)


class SiteObserver(Protocol):
    """Who is told what the mock servers say; `now` is seconds since the run began."""

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        """A mock server's line for the operator log."""
        ...


class Observer(SiteObserver, Protocol):
    """Who folds a run's observations; `now` is seconds since the run began."""

    def boot_started(self, phone_id: str, boot: int, now: float) -> None:
        """Power was applied for the `boot`-th time, counted from 1."""
        ...

    def observe(self, phone_id: str, observation: Observation, now: float) -> None:
        """A phone let something be known."""
        ...

    def crashed(self, phone_id: str, error: BaseException, now: float) -> None:
        """A phone's machine raised: the phone is lost, the fleet goes on."""
        ...


class RunLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a run ends, and how many phones may boot at once.

    With `duration` None it ends when every phone has settled: a phone settles when
    it signs in (or does its last stage) in the last of its `boots`, fails (`BootFailed`),
    crashes, or has not done so `timeout` seconds after its start. Otherwise it ends
    after `duration` seconds. Before each of its other boots a phone that signed in loses power
    (no RELEASE); if that boot is a "sign-out", it signs out first. At the end every phone is asked
    to shut down; `keep_leases` cuts the power instead.

    With `repeat_every`, which needs a `duration`, every phone loses power and boots again so
    many seconds after its last time, from an empty disk, whatever it came to; one that has not
    settled then does so when it has. A phone with a fixed address keeps its power, and only does
    its stage again.

    While `outstanding` phones have started and not settled, the next ones wait; they
    start in the order of their `starts_at`.
    """

    duration: float | None = None
    timeout: float = 600
    boots: tuple[BootKind, ...] = ("cold",)
    keep_leases: bool = False
    outstanding: int | None = None
    repeat_every: float | None = None

    def boot_kind(self, spec: PhoneSpec, boot: int) -> BootKind:
        """How a phone's `boot`-th boot begins, counted from 1; those that are repeated are cold."""
        if boot == 1 and spec.first_boot is not None:
            return spec.first_boot
        return self.boots[boot - 1] if boot <= len(self.boots) else "cold"

    def follows(self, boot: int) -> BootKind | None:
        """How the one after it begins; None if it is the last."""
        return self.boots[boot] if boot < len(self.boots) else None
