import pytest

from phonesim.config.fault import SetPinState
from phonesim.config.site_profile import PinPolicyConfig, UserRange
from phonesim.mocksite.pin_authentication import ATTEMPT_WINDOW, LOCKOUT_TIME, PinAuthentication
from phonesim.mocksite.users import User, UserDirectory
from phonesim.wire.web_ticket import PinCredential

ALICE, PIN = "+14255550001", "24680"
DAY = 86400
USERS = (
    UserRange(sip_uri="sip:alice@contoso.com", number=ALICE, pin=PIN, extension="50001"),
    UserRange(sip_uri="sip:bob@contoso.com", number="4711", pin="13579"),
    UserRange(sip_uri="sip:carol@contoso.com", number="4711", pin="97531"),
    UserRange(sip_uri="sip:dave@contoso.com", number="4712", pin="11223"),
    UserRange(sip_uri="sip:erin@contoso.com", number="4712", pin="11223"),
    UserRange(sip_uri="sip:frank@contoso.com", number="+14255550006", pin="46464", extension="6"),
    UserRange(sip_uri="sip:grace@contoso.com", number="+14255550007", pin="46464", extension="6"),
    UserRange(sip_uri="sip:heidi@contoso.com", number="+14255550008", pin="31313", extension="6"),
)


def directory(*changes, users=USERS, **policy):
    return UserDirectory(users, changes, PinPolicyConfig(**policy))


def server(*changes, **policy):
    return PinAuthentication(directory(*changes, **policy))


def ask(pins, number=ALICE, pin=PIN, now=0.0):
    """The user's name, or the PinFailureReason."""
    found = pins.authenticate(PinCredential(number=number, pin=pin), now)
    return found.address.partition("@")[0] if isinstance(found, User) else found


@pytest.mark.parametrize(
    ("number", "pin", "result"),
    [
        (ALICE, PIN, "alice"),
        ("1 (425) 555-0001", PIN, "alice"),
        ("50001", PIN, "alice"),
        ("4242", PIN, "UserDoesNotExist"),
        ("", "", "UserDoesNotExist"),
        (ALICE, "24681", "IncorrectPin"),
        (ALICE, "", "IncorrectPin"),
        ("4711", "13579", "bob"),
        ("4711", "97531", "carol"),
        ("4711", PIN, "IncorrectPin"),
        ("4712", "11223", "PinNotUnique"),
        ("6", "31313", "heidi"),
        ("6", "46464", "NonUniqueUser"),
        ("6", "11111", "IncorrectPin"),
        ("+14255550006", "46464", "frank"),
    ],
)
def test_number_and_pin_say_who_it_is(number, pin, result):
    assert ask(server(), number, pin) == result


@pytest.mark.parametrize(
    ("state", "failure", "failure_of_another_pin"),
    [
        ("locked", "UserPinAccountLocked", "UserPinAccountLocked"),
        ("expired", "PinExpired", "IncorrectPin"),
        ("not-set", "PinNotSet", "PinNotSet"),
        ("not-enabled", "PinNotEnabledForUser", "PinNotEnabledForUser"),
        ("unauthorized", "Unauthorized", "IncorrectPin"),
        ("disabled", "UserPinAccountDisabled", "UserPinAccountDisabled"),
        ("wrong", "IncorrectPin", "IncorrectPin"),
    ],
)
def test_the_state_of_the_pin_decides(state, failure, failure_of_another_pin):
    pins = server(SetPinState(kind="pin-state", state=state))
    assert ask(pins) == failure
    assert ask(pins, pin="00000") == failure_of_another_pin


def test_wrong_pins_lock_the_user_for_an_hour():
    pins = server(maximum_logon_attempts=3)
    assert [ask(pins, pin="0", now=now) for now in (0, 1, 2)] == ["IncorrectPin"] * 3
    assert ask(pins, now=3) == "UserPinAccountLocked"
    assert ask(pins, now=2 + LOCKOUT_TIME - 1) == "UserPinAccountLocked"
    # Another user is none of it, and afterwards counting begins anew.
    assert ask(pins, "4711", "13579", now=3) == "bob"
    after = 2 + LOCKOUT_TIME
    assert [ask(pins, pin="0", now=after + n) for n in (0, 1)] == ["IncorrectPin"] * 2
    assert ask(pins, now=after + 2) == "alice"


def test_only_wrong_pins_within_the_window_add_up():
    pins = server(maximum_logon_attempts=3)
    for now in (0, 1, ATTEMPT_WINDOW, ATTEMPT_WINDOW + 1.5):
        assert ask(pins, pin="0", now=now) == "IncorrectPin"
    assert ask(pins, now=ATTEMPT_WINDOW + 2) == "alice"


def test_the_right_pin_clears_the_count():
    pins = server(maximum_logon_attempts=2)
    for now in (0, 2, 4):
        assert ask(pins, pin="0", now=now) == "IncorrectPin"
        assert ask(pins, now=now + 1) == "alice"


def test_a_wrong_pin_counts_for_every_user_of_the_number():
    pins = server(maximum_logon_attempts=1)
    assert ask(pins, "4711", "0") == "IncorrectPin"
    assert ask(pins, "4711", "13579") == "UserPinAccountLocked"
    assert ask(pins, "4711", "97531") == "UserPinAccountLocked"


@pytest.mark.parametrize(
    ("pin", "local", "pool_wide"),
    [("2468", 10, 100), ("24680", 25, 1000), ("246802", 25, 5000), ("2468024", 25, 5000)],
)
def test_how_many_wrong_pins_lock_depends_on_the_pins_length(pin, local, pool_wide):
    users = UserDirectory((UserRange(sip_uri="sip:a@contoso.com", number="1", pin=pin),))
    pins = PinAuthentication(users)
    for attempt in range(local):
        assert ask(pins, "1", "0", attempt) == "IncorrectPin"
    assert ask(pins, "1", pin, local) == "UserPinAccountLocked"
    # The count of the pool goes on where the lockout ends; another server has a local one.
    now, other = local + LOCKOUT_TIME, PinAuthentication(users)
    assert ask(other, "1", pin, now) == "a"
    for attempt in range(pool_wide - local):
        now += ATTEMPT_WINDOW
        assert ask(other if attempt % 2 else pins, "1", "0", now) == "IncorrectPin"
    for server_of_pool in (pins, other):
        assert ask(server_of_pool, "1", pin, now + 365 * DAY) == "UserPinAccountLocked"


def test_the_right_pin_does_not_clear_the_count_of_the_pool():
    users = directory(users=(UserRange(sip_uri="sip:a@contoso.com", number="1", pin="2468"),))
    pins = PinAuthentication(users)
    for now in range(100):
        assert ask(pins, "1", "0", now) == "IncorrectPin"
        expected = "a" if now < 99 else "UserPinAccountLocked"
        assert ask(pins, "1", "2468", now) == expected


def test_the_count_of_the_pool_is_not_changed_by_the_policy():
    users = directory(
        users=(UserRange(sip_uri="sip:a@contoso.com", number="1", pin="2468"),),
        maximum_logon_attempts=999,
    )
    pins = PinAuthentication(users)
    assert {ask(pins, "1", "0") for _ in range(100)} == {"IncorrectPin"}
    assert ask(pins, "1", "2468") == "UserPinAccountLocked"


@pytest.mark.parametrize(
    ("lifetime", "age", "days", "result"),
    [
        (0, 9999, 9999, "alice"),
        (60, 0, 60, "alice"),
        (60, 0, 60.5, "PinExpired"),
        (60, 59.5, 1, "PinExpired"),
    ],
)
def test_a_pin_gets_too_old(lifetime, age, days, result):
    (alice,) = (users.model_copy(update={"pin_age_days": age}) for users in USERS[:1])
    pins = PinAuthentication(directory(users=(alice,), lifetime_days=lifetime))
    assert ask(pins, now=days * DAY) == result
