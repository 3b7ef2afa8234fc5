import pytest

from phonesim.config.fault import SetPinState
from phonesim.config.site_profile import UserRange
from phonesim.errors import ProfileError
from phonesim.mocksite.users import DEVICES_LIMIT, User, UserDirectory

MANY = UserRange(
    first=1,
    count=100_000,
    sip_uri="sip:User{n:05d}@contoso.com",
    number="+1425555{n:05d}",
    pin="8{n:05d}4",
)


def test_a_user_of_a_large_range_is_found_by_number_and_by_sip_uri():
    users = UserDirectory([MANY])
    expected = User(
        sip_uri="sip:user00042@contoso.com",
        number="+142555500042",
        pin="8000424",
        password="8000424",
    )
    assert users.by_number("+142555500042") == (expected,)
    assert users.by_sip_uri("sip:user00042@contoso.com") == expected
    assert users.by_sip_uri("SIP:USER00042@CONTOSO.COM") == expected
    assert users.by_sip_uri("sip:user100000@contoso.com").number == "+1425555100000"
    assert expected.address == "user00042@contoso.com"


@pytest.mark.parametrize(
    "typed", ["142555500042", "+1 425 555 00042", "+1 (425) 555-00042", "1.425.555.00042"]
)
def test_a_number_is_found_as_people_type_it(typed):
    assert [user.number for user in UserDirectory([MANY]).by_number(typed)] == ["+142555500042"]


@pytest.mark.parametrize(
    "number",
    ["", "+", "+1425555", "+142555542", "+142555500000", "+1425555100001", "+14255550004²"],
)
def test_a_text_that_the_template_does_not_make_is_nobody(number):
    assert UserDirectory([MANY]).by_number(number) == ()


@pytest.mark.parametrize(
    "sip_uri", ["", "user00042@contoso.com", "sip:user42@contoso.com", "sip:user00042@other.com"]
)
def test_a_sip_uri_that_is_nobody(sip_uri):
    assert UserDirectory([MANY]).by_sip_uri(sip_uri) is None


def test_a_number_can_belong_to_several_users():
    shared = UserRange(count=3, sip_uri="sip:guest{n}@contoso.com", number="4711", pin="{n}0000")
    desk = UserRange(sip_uri="sip:desk@contoso.com", number="4711", pin="12345")
    found = UserDirectory([shared, desk]).by_number("4711")
    assert [user.pin for user in found] == ["10000", "20000", "30000", "12345"]


@pytest.mark.parametrize("template", ["{n:x}@a", "{n}-{n}@a", "{{{n}}}@a", "{n:>3}@a"])
def test_templates_that_cannot_be_read_backwards_work_too(template):
    users = UserDirectory([UserRange(count=20, sip_uri=f"sip:{template}", number="1", pin="1")])
    for n in range(1, 21):
        sip_uri = f"sip:{template}".format(n=n)
        assert users.by_sip_uri(sip_uri).sip_uri == sip_uri


@pytest.mark.parametrize("template", ["{m}", "{n:zz}", "{", "{0}", "{n[1]}"])
def test_a_template_that_cannot_be_filled_in_is_refused(template):
    with pytest.raises(ProfileError, match=r"only \{n\} is known"):
        UserDirectory([UserRange(sip_uri="sip:a@b", number=template, pin="1")])


@pytest.mark.parametrize(
    ("state", "pin", "pin_state", "is_enabled"),
    [
        ("wrong", "8000015", "ok", True),
        ("locked", "8000014", "locked", True),
        ("expired", "8000014", "expired", True),
        ("not-set", "8000014", "not-set", True),
        ("not-enabled", "8000014", "not-enabled", True),
        ("disabled", "8000014", "ok", False),
    ],
)
def test_a_pin_fault_changes_the_users_that_match(state, pin, pin_state, is_enabled):
    change = SetPinState(kind="pin-state", users="sip:user00001@*", state=state)
    users = UserDirectory([MANY], [change])
    (changed,) = users.by_number("+142555500001")
    assert (changed.pin, changed.pin_state, changed.is_enabled) == (pin, pin_state, is_enabled)
    (other,) = users.by_number("+142555500002")
    assert (other.pin, other.pin_state, other.is_enabled) == ("8000024", "ok", True)


def test_a_pin_fault_can_hit_every_nth_user():
    change = SetPinState(kind="pin-state", state="locked", every_nth=3)
    users = UserDirectory([MANY], [change])
    states = [users.by_sip_uri(f"sip:user{n:05d}@contoso.com").pin_state for n in range(1, 7)]
    assert states == ["ok", "ok", "locked", "ok", "ok", "locked"]


def test_a_wrong_pin_differs_even_when_it_is_no_number():
    change = SetPinState(kind="pin-state", state="wrong")
    users = UserDirectory([UserRange(sip_uri="sip:a@b", number="1", pin="x")], [change])
    assert users.by_number("1")[0].pin != "x"


def test_patterns_match_users_or_none():
    users = UserDirectory([MANY])
    assert users.matches("sip:USER0001?@contoso.com")
    assert not users.matches("sip:nobody@*")


def test_the_published_certificate_is_the_device_s_latest():
    users = UserDirectory([MANY])
    alice = users.by_sip_uri("sip:user00001@contoso.com")
    bob = users.by_sip_uri("sip:user00002@contoso.com")
    users.publish(alice, "phone", b"old")
    users.publish(alice, "phone", b"new")
    users.publish(alice, "tablet", b"other")
    assert users.is_published(alice, b"new")
    assert users.is_published(alice, b"other")
    assert not users.is_published(alice, b"old")
    assert not users.is_published(bob, b"new")


def test_a_user_does_not_show_the_pin():
    assert "8000014" not in repr(UserDirectory([MANY]).by_number("+142555500001"))


NAMED = UserRange(
    count=50,
    sip_uri="sip:User{n}@contoso.com",
    number="{n}",
    pin="7{n:04d}",
    user_name="CONTOSO\\Staff{n:03d}",
    password="Pass word-{n}",
)


@pytest.mark.parametrize(
    ("user_name", "number"),
    [
        ("contoso\\staff007", "7"),
        ("CONTOSO\\STAFF050", "50"),
        ("user00042@contoso.com", "+142555500042"),
        ("User00042@Contoso.com", "+142555500042"),
    ],
)
def test_a_user_is_found_by_the_name_to_sign_in_with(user_name, number):
    assert UserDirectory([NAMED, MANY]).by_user_name(user_name).number == number


@pytest.mark.parametrize(
    "user_name", ["", "staff007", "contoso\\staff051", "user7@contoso.com", "fabrikam\\staff007"]
)
def test_other_names_are_nobodys(user_name):
    assert UserDirectory([NAMED, MANY]).by_user_name(user_name) is None


def test_a_password_is_its_own_or_the_pin():
    users = UserDirectory([NAMED, MANY])
    assert users.by_user_name("contoso\\staff007").password == "Pass word-7"
    assert users.by_user_name("user00042@contoso.com").password == "8000424"
    assert "8000424" not in repr(users.by_user_name("user00042@contoso.com"))


def test_a_wrong_pin_is_a_wrong_password_too():
    users = UserDirectory([NAMED], [SetPinState(kind="pin-state", state="wrong")])
    user = users.by_user_name("contoso\\staff007")
    assert (user.pin, user.password) == ("70008", "Pass word-8")


def test_so_many_devices_of_a_user_are_remembered():
    users = UserDirectory([UserRange(sip_uri="sip:alice@contoso.com", number="1", pin="1")])
    alice = users.by_sip_uri("sip:alice@contoso.com")
    for n in range(DEVICES_LIMIT):
        users.publish(alice, f"{n}", b"%d" % n)
    users.publish(alice, "0", b"renewed")
    users.publish(alice, "another", b"another")
    assert users.is_published(alice, b"renewed")
    assert users.is_published(alice, b"another")
    assert not users.is_published(alice, b"1")
    assert users.is_published(alice, b"2")
