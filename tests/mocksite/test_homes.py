import pytest

from phonesim.config.site_profile import RegistrarConfig, UserRange, WebServicesConfig
from phonesim.errors import ProfileError
from phonesim.mocksite.homes import HomeBook
from phonesim.mocksite.users import User


def registrar(number, **fields):
    return RegistrarConfig(
        name=f"lync0{number}", address=f"10.0.0.2{number}", fqdn=f"fe0{number}.x.com", **fields
    )


def user(**fields):
    return User(sip_uri="sip:a@x.com", number="1", pin="1", password="1", **fields)


THREE = [registrar(1), registrar(2), registrar(3, cluster_type="remote")]


@pytest.mark.parametrize(
    ("fields", "primary", "backup"),
    [
        ({}, "lync01", "lync02"),
        ({"registrar": "lync02"}, "lync02", "lync03"),
        ({"registrar": "lync03"}, "lync03", "lync01"),
        ({"registrar": "lync03", "backup_registrar": "lync02"}, "lync03", "lync02"),
        ({"backup_registrar": "lync03"}, "lync01", "lync03"),
        ({"backup_registrar": "lync01"}, "lync01", "lync02"),
    ],
)
def test_a_user_has_a_primary_and_a_backup(fields, primary, backup):
    homes = HomeBook(THREE)
    assert (homes.primary(user(**fields)), homes.backup(user(**fields))) == (primary, backup)


def test_a_lone_registrar_has_no_backup():
    assert HomeBook([registrar(1)]).backup(user()) is None


def test_a_user_who_was_moved_is_not_at_home_any_more():
    homes = HomeBook(THREE[:2])
    homes.move(user(), "lync02")
    assert homes.primary(user()) == "lync02"
    assert homes.backup(user()) is None


def test_the_cluster_is_that_of_the_primary():
    homes = HomeBook(THREE)
    assert homes.cluster_type(user()) == "central"
    assert homes.cluster_type(user(registrar="lync03")) == "remote"


def test_users_are_disabled_from_the_beginning_or_since():
    homes = HomeBook(THREE)
    assert not homes.is_disabled(user())
    assert homes.is_disabled(user(is_enabled=False))
    homes.disable(user())
    assert homes.is_disabled(user())


def test_provisioning_is_what_the_profile_says():
    web = WebServicesConfig(name="pool01", address="10.0.0.20", fqdn="pool.x.com", https_port=444)
    told = HomeBook(THREE, [web]).provisioning(user())
    assert [server.uri for server in told.registrars] == [
        "sip:fe01.x.com:5061;transport=tls",
        "sip:fe02.x.com:5061;transport=tls",
    ]
    assert told.web_services.text == "https://pool.x.com:444" + web.cert_prov_rel_path
    assert HomeBook(THREE).provisioning(user()).web_services is None


def test_a_home_that_the_site_has_not_is_refused():
    users = UserRange(
        sip_uri="sip:a@x.com", number="1", pin="1", password="1", backup_registrar="lync09"
    )
    with pytest.raises(ProfileError, match="no registrar 'lync09'; there are: lync01, lync02"):
        HomeBook(THREE, (), [users])


def test_a_user_registers_at_home_and_at_the_backup_only():
    homes = HomeBook(THREE)
    names = [registrar.name for registrar in THREE]
    assert [homes.receives(name, user()) for name in names] == [True, True, False]
    assert [homes.is_primary(name, user()) for name in names] == [True, False, False]


def test_an_ordinary_registrar_belongs_to_no_pool():
    homes = HomeBook([registrar(1, authentication=("digest",)), *THREE[1:]])
    assert (homes.primary(user()), homes.backup(user())) == ("lync02", "lync03")
    assert homes.is_primary("lync01", user())
    assert homes.receives("lync01", user())
    alone = HomeBook([registrar(1, authentication=("digest",))])
    assert (alone.primary(user()), alone.backup(user())) == ("lync01", None)
