"""The names of servers, as a phone came to know them."""

from __future__ import annotations

from phonesim.field.captures.known_hosts import KnownHosts


def test_names_and_registrars() -> None:
    hosts = KnownHosts()
    assert hosts.name("10.0.0.1") == "10.0.0.1"
    hosts.learn("10.0.0.1", "FE01.contoso.com.")
    hosts.learn_registrar("fe01.contoso.com", 443)
    assert hosts.name("10.0.0.1") == "fe01.contoso.com"
    assert hosts.is_registrar("10.0.0.1", 443)
    assert not hosts.is_registrar("10.0.0.2", 443)
    assert hosts.is_registrar("10.0.0.2", 5061)
    hosts.learn("10.0.0.3", "sipexternal.contoso.com")
    assert hosts.is_registrar("10.0.0.3", 443)


def test_what_is_known_is_bounded() -> None:
    hosts = KnownHosts()
    for number in range(KnownHosts.MOST + 1):
        hosts.learn(f"10.0.{number // 256}.{number % 256}", "a")
        hosts.learn_registrar(f"fe{number}", 5061)
    assert hosts.name("10.0.0.0") == "10.0.0.0"
