from __future__ import annotations

from pathlib import Path

import pytest

from phonesim.field.boots import Boot
from phonesim.field.log_reader import read_log, shipped_dialects
from phonesim.field.remedies import OPTION_43, SCOPE, Remedy
from phonesim.field.site_names import SiteNames, names_in

GOLDEN = Path(__file__).parents[1] / "golden" / "logs"


def boot_of(name: str) -> Boot:
    boot = Boot("00-04-F2-00-00-01")
    for sighting in read_log([GOLDEN / f"{name}.log"], shipped_dialects(), []):
        boot.take(sighting)
    return boot


def test_a_phone_knows_the_names_of_its_site() -> None:
    assert names_in(boot_of("cold-boot")) == SiteNames(
        web_server="webpool.contoso.com",
        sip_servers=("fe01.contoso.com", "fe02.contoso.com"),
        scope="127.20.0.0",
    )


def test_what_nobody_told_it_does_not_know() -> None:
    assert names_in(boot_of("dhcp-silent")) == SiteNames()
    names = names_in(boot_of("no-option-43-no-dns"))
    assert (names.web_server, names.sip_servers[:1]) == ("", ("fe01.contoso.com",))


OURS = SiteNames(web_server="web.example.org", sip_servers=("a.org", "b.org"), scope="10.1.2.0")


@pytest.mark.parametrize("remedy", OPTION_43, ids=lambda remedy: remedy.where)
def test_a_command_for_options_has_the_names(remedy: Remedy) -> None:
    how = OURS.put_into(remedy)
    assert "--web-server web.example.org --sip-server a.org --sip-server b.org" in how
    assert "contoso" not in how
    assert SiteNames().put_into(remedy) == remedy.how


def test_a_command_for_a_scope_has_the_scope_of_the_lease() -> None:
    assert "-ScopeId 10.1.2.0" in OURS.put_into(SCOPE[0])
    assert "192.0.2.0" not in OURS.put_into(SCOPE[0])


def test_what_one_does_not_know_another_does() -> None:
    assert SiteNames(scope="10.9.9.0").or_else(OURS) == SiteNames(
        web_server="web.example.org", sip_servers=("a.org", "b.org"), scope="10.9.9.0"
    )
