"""The site's users, and the certificates published for them.

Every web service and Registrar of a site reads the same directory, which also counts the
wrong PINs of the whole pool. A range of a
hundred thousand users costs nothing until one of them is looked up: a template
with one `{n}` is read backwards, from the text to the number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import translate
from string import Formatter

import msgspec

from phonesim.config.fault import SetPinState
from phonesim.config.site_profile import PinPolicyConfig, PinState, UserRange
from phonesim.errors import ProfileError

DEVICES_LIMIT = 64
"""Devices of a user whose certificates are kept; one more takes the place of the oldest."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user. `sip_uri` is sip:user@domain; `pin` and `password` are those that the server knows.

    `registrar` and `backup_registrar` are names, or None for those that the site takes.
    """

    sip_uri: str
    number: str
    pin: str
    password: str
    pin_state: PinState = "ok"
    pin_age_days: float = 0
    is_enabled: bool = True
    registrar: str | None = None
    backup_registrar: str | None = None

    @property
    def address(self) -> str:
        """The SIP URI without its scheme: user@domain."""
        return self.sip_uri.partition(":")[2]

    def __repr__(self) -> str:
        """Name the user and keep PIN and password to itself."""
        return f"User({self.sip_uri})"


class UserDirectory:
    """Users by number and by SIP URI. `changes` are the PIN faults of the site.

    Raises `ProfileError` when a template of a range cannot be filled in.
    """

    def __init__(
        self,
        ranges: Sequence[UserRange],
        changes: Sequence[SetPinState] = (),
        pin_policy: PinPolicyConfig | None = None,
    ) -> None:
        self.pin_policy = pin_policy or PinPolicyConfig()
        self._wrong_pins: Counter[str] = Counter()
        self._ranges = tuple(_Range(users, changes) for users in ranges)
        self._by_sip_uri: dict[str, User] = {}
        self._published: dict[str, dict[str, bytes]] = {}

    def by_number(self, number: str) -> tuple[User, ...]:
        """Every user with that phone number or extension, as a person would type it."""
        found = self._with_number(number)
        if found:
            return found
        typed = "".join(character for character in number if character not in " -().")
        return self._with_number(typed) or self._with_number("+" + typed)

    def by_sip_uri(self, sip_uri: str) -> User | None:
        """The user whose SIP URI this is; None if there is none."""
        user = self._by_sip_uri.get(sip_uri)
        if user is not None:
            return user
        wanted = sip_uri.lower()
        for users in self._ranges:
            for n in users.sip_uri.numbers(wanted):
                user = users.user(n)
                self._by_sip_uri[user.sip_uri] = user
                return user
        return None

    def by_user_name(self, user_name: str) -> User | None:
        """The user who signs in under that name, DOMAIN\\user or user@domain."""
        wanted = user_name.lower()
        for users in self._ranges:
            for n in users.user_name.numbers(wanted):
                return users.user(n)
        return None

    def matches(self, pattern: str) -> bool:
        """Whether the SIP URI of any user matches a shell pattern."""
        wanted = re.compile(translate(pattern.lower()))
        return any(
            wanted.match(users.sip_uri.fill(n)) for users in self._ranges for n in users.numbers
        )

    def publish(self, user: User, device_id: str, certificate: bytes) -> None:
        """Keep the certificate (DER) of a user's device in place of its earlier one."""
        published = self._published.setdefault(user.sip_uri, {})
        published.pop(device_id, None)
        if len(published) >= DEVICES_LIMIT:
            del published[next(iter(published))]
        published[device_id] = certificate

    def is_published(self, user: User, certificate: bytes) -> bool:
        """Whether this certificate (DER) is the current one of a device of the user."""
        return certificate in self._published.get(user.sip_uri, {}).values()

    def count_wrong_pin(self, user: User) -> None:
        """Count a wrong PIN of the user at any server of the pool."""
        self._wrong_pins[user.sip_uri] += 1

    def wrong_pins(self, user: User) -> int:
        """How many there were, ever."""
        return self._wrong_pins[user.sip_uri]

    def _with_number(self, typed: str) -> tuple[User, ...]:
        return tuple(users.user(n) for users in self._ranges for n in users.with_number(typed))


class _Range:
    def __init__(self, users: UserRange, changes: Sequence[SetPinState]) -> None:
        numbers = self.numbers = range(users.first, users.first + users.count)
        self.sip_uri = _Template(users.sip_uri, numbers, is_folded=True)
        self.number = _Template(users.number, numbers)
        self.pin = _Template(users.pin, numbers)
        address = users.sip_uri.partition(":")[2]
        self.user_name = _Template(users.user_name or address, numbers, is_folded=True)
        self.password = _Template(users.pin if users.password is None else users.password, numbers)
        self._first = users.first
        self.extension = _Template(users.extension, numbers) if users.extension else None
        self._pin_state = users.pin_state
        self._pin_age_days = users.pin_age_days
        self._is_enabled = users.is_enabled
        self._registrars = users.registrar, users.backup_registrar
        self._changes = tuple(
            (re.compile(translate(change.users.lower())), change.every_nth, change.state)
            for change in changes
        )

    def with_number(self, typed: str) -> Sequence[int]:
        found = self.number.numbers(typed)
        if self.extension is None:
            return found
        return list(dict.fromkeys([*found, *self.extension.numbers(typed)]))

    def user(self, n: int) -> User:
        sip_uri = self.sip_uri.fill(n)
        pin, password = self.pin.fill(n), self.password.fill(n)
        pin_state = self._pin_state
        is_enabled = self._is_enabled
        for pattern, every_nth, state in self._changes:
            if (n - self._first + 1) % every_nth or not pattern.match(sip_uri):
                continue
            match state:
                case "wrong":
                    pin, password = _another_pin(pin), _another_pin(password)
                case "disabled":
                    is_enabled = False
                case "locked" | "expired" | "not-set" | "not-enabled" | "unauthorized":
                    pin_state = state
        return User(
            sip_uri=sip_uri,
            number=self.number.fill(n),
            pin=pin,
            password=password,
            pin_state=pin_state,
            pin_age_days=self._pin_age_days,
            is_enabled=is_enabled,
            registrar=self._registrars[0],
            backup_registrar=self._registrars[1],
        )


class _Template:
    """A format string over `n`, and the way back from its text to the numbers that make it."""

    def __init__(self, template: str, numbers: range, *, is_folded: bool = False) -> None:
        self._template = template.lower() if is_folded else template
        self._numbers = numbers
        self._index: dict[str, list[int]] | None = None
        try:
            self.fill(numbers[0])
            parts = list(Formatter().parse(self._template))
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise ProfileError(
                f"users: template {template!r} cannot be filled in: only {{n}} is known ({error})"
            ) from error
        fields = [(name, spec) for _, name, spec, _ in parts if name is not None]
        self._is_constant = not fields
        self._is_invertible = (
            len(fields) == 1
            and len(parts) <= 2
            and parts[0][1] == "n"
            and re.fullmatch(r"0?\d*d?", parts[0][2] or "") is not None
        )
        self._prefix = parts[0][0] if parts else ""
        self._suffix = parts[1][0] if len(parts) > 1 else ""

    def fill(self, n: int) -> str:
        return self._template.format(n=n)

    def numbers(self, text: str) -> Sequence[int]:
        if self._is_constant:
            return self._numbers if text == self.fill(0) else ()
        if self._is_invertible:
            return self._invert(text)
        if self._index is None:
            self._index = {}
            for n in self._numbers:
                self._index.setdefault(self.fill(n), []).append(n)
        return self._index.get(text, ())

    def _invert(self, text: str) -> Sequence[int]:
        if not text.startswith(self._prefix) or not text.endswith(self._suffix):
            return ()
        digits = text[len(self._prefix) : len(text) - len(self._suffix)]
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            return ()
        n = int(digits)
        return (n,) if n in self._numbers and self.fill(n) == text else ()


def _another_pin(pin: str) -> str:
    last = pin[-1:]
    return pin[:-1] + str((int(last) + 1) % 10) if last.isdigit() else pin + "0"
