import pytest

from phonesim.device.sign_in import SignIn
from phonesim.errors import ProfileError, UsageError
from phonesim.field.bootstrap import (
    BootstrapRequest,
    conclusion,
    discard,
    plan_trial,
    run_bootstrap,
    typed_target,
)
from phonesim.profiles import parse_override

PIN = "8000014"
POOL = "fe01.contoso.com"
PATH = "/CertProv/CertProvisioningService.svc"


def request(*settings, **values):
    overrides = ["fleet.attach=virtual", *settings]
    return BootstrapRequest(
        **{
            "number": "+142555500001",
            "pin": PIN,
            "overrides": tuple(map(parse_override, overrides)),
            **values,
        }
    )


@pytest.fixture
def tried(tmp_path):
    """Tries a request in virtual time; the trials by kind, and what was followed of them."""

    def run(asked):
        followed = []
        trials = run_bootstrap(
            asked, tmp_path, lambda kind, step: followed.append((kind, step.stage, step.result))
        )
        return {trial.kind: trial for trial in trials}, followed

    return run


def test_a_cold_phone_is_followed_step_by_step(tried):
    trials, followed = tried(request(sip_uri="sip:user00001@contoso.com"))
    assert [stage for _, stage, _ in followed] == [
        *("vlan", "ip", "time", "discovery", "chain"),
        *("ticket", "certificate", "register", "commit"),
    ]
    assert {result for _, _, result in followed} == {"ok"}
    [trial] = trials.values()
    assert trial.works
    result = trial.results[trial.shown]
    assert result.target_uri == f"https://webpool.contoso.com:443{PATH}"
    assert (result.target_fqdn, result.source) == (POOL, "dhcp:127.20.0.10")


def test_a_target_leaves_discovery_out(tried):
    trials, followed = tried(request(target=typed_target(POOL, None, 5061)))
    assert ("named", "discovery", "skipped") in followed
    assert trials["named"].works
    assert trials["named"].results[trials["named"].shown].source == "cache"


@pytest.mark.parametrize(
    "target",
    [
        typed_target("sip.elsewhere.example", None, 5061),
        typed_target(POOL, f"https://webpool.contoso.com/other{PATH}", 5061),
        typed_target(POOL, None, 5099),
    ],
)
def test_a_wrong_target_is_no_success_though_the_phone_finds_another(tried, target):
    trials, _ = tried(request(target=target))
    trial = trials["named"]
    assert trial.stories[trial.shown].is_signed_in
    assert not trial.works
    assert trial.results[trial.shown].error.startswith("ERROR - ")


def test_the_number_has_to_be_the_user_s(tried):
    trials, _ = tried(request(sip_uri="sip:user00002@contoso.com"))
    result = trials["cold"].results[trials["cold"].shown]
    assert "that of sip:user00001@contoso.com, not of sip:user00002" in result.error


@pytest.mark.parametrize(
    ("faults", "target", "works", "said"),
    [
        ((), None, {"cold": True, "cached": True, "stale": True}, "whatever they have kept"),
        (
            ("no-sign-in-options", "no-registrar-records"),
            typed_target(POOL, None, 5061),
            {"named": True, "cold": False, "cached": True, "stale": False},
            "Only phones with a good cache sign in.",
        ),
        (
            ("no-sign-in-options", "no-registrar-records"),
            None,
            {"cold": False, "stale": False},
            None,
        ),
    ],
)
def test_phones_of_every_kind(tried, faults, target, works, said):
    trials, _ = tried(request(faults=faults, target=target, also=True))
    assert {kind: trial.works for kind, trial in trials.items() if trial.results} == works
    told = conclusion(list(trials.values()))
    assert (said is None and told == []) or any(said in line for line in told)
    if target is None and faults:
        assert "--cached-from" in trials["cached"].left_out


def test_cached_phones_may_be_those_of_an_earlier_run(tried, tmp_path):
    well, _ = tried(request())
    faults = ("no-sign-in-options", "no-registrar-records")
    earlier = str(well["cold"].folder)
    trials, _ = tried(request(faults=faults, also=True, cached_from=earlier))
    assert not trials["cold"].works
    assert trials["cached"].works
    story = trials["cached"].stories[trials["cached"].shown]
    assert "the certificate of sip:user00001@contoso.com from an earlier sign-in" in [
        found for step in story.steps for found in step.found
    ]


def test_a_refused_pin_is_not_tried_again(tried):
    trials, _ = tried(request(pin="0000000", also=True))
    assert trials["cold"].is_pin_refused
    assert all("lock the user" in trials[kind].left_out for kind in ("cached", "stale"))


def test_several_phones_of_one_user(tried):
    trials, followed = tried(request("fleet.phones=4"))
    assert (trials["cold"].phones, trials["cold"].signed_in) == (4, 4)
    assert len(followed) == 9


def test_a_wrong_pin_is_sent_once_however_many_phones_there_are(tried, tmp_path):
    trials, followed = tried(request("fleet.phones=3", pin="0000000", also=True))
    cold = trials["cold"]
    assert (cold.phones, cold.held_back, cold.is_pin_refused) == (1, 2, True)
    assert [each for each in followed if each[1] == "ticket"] == [
        ("cold", "ticket", "pin-incorrect")
    ]
    logs = [file.read_text() for file in tmp_path.rglob("cpsw3g.log")]
    assert sum("pin-incorrect" in log for log in logs) == len(logs) == 1
    assert all(trials[kind].left_out for kind in ("cached", "stale"))


def test_one_phone_goes_first_only_until_the_pin_is_known_to_be_right(tried):
    trials, followed = tried(request("fleet.phones=3", also=True))
    came = [(trial.signed_in, trial.held_back) for trial in trials.values()]
    assert came == [(3, 0)] * 3
    assert [stage for kind, stage, _ in followed if kind == "cold"].count("ticket") == 1


def test_phones_that_fail_after_the_ticket_all_try(tried):
    trials, _ = tried(request("fleet.phones=3", faults=("registrar-forbids",)))
    assert (trials["cold"].phones, trials["cold"].held_back) == (3, 0)


def test_no_pin_is_in_what_trials_leave(tried, tmp_path):
    tried(request(also=True))
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if PIN.encode() in file.read_bytes()]


def test_run_folders_that_nobody_needs_are_removed(tried, tmp_path):
    trials, _ = tried(request(also=True))
    discard(list(trials.values()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fqdn", "uri", "url", "registrar"),
    [
        (POOL, None, f"https://{POOL}:443{PATH}", f"{POOL}:5061"),
        (None, f"https://web.x:4443{PATH}", f"https://web.x:4443{PATH}", "web.x:5061"),
        (POOL, f"http://web.x{PATH}", f"http://web.x:80{PATH}", f"{POOL}:5061"),
    ],
)
def test_what_a_target_means(fqdn, uri, url, registrar):
    target = typed_target(fqdn, uri, 5061)
    assert target is not None
    assert (target.web_services.url, target.registrar.name) == (url, registrar)
    assert typed_target(None, None, 5061) is None


@pytest.mark.parametrize(
    "uri", ["webpool.contoso.com", "https://webpool.contoso.com", "ftp://a/b", "https://a:b/c"]
)
def test_a_url_that_is_none_is_refused(uri):
    with pytest.raises(UsageError, match="--target-uri"):
        typed_target(None, uri, 5061)


@pytest.mark.parametrize(
    "fqdn",
    [
        "",
        "pool",
        "10.0.0.1",
        "pool contoso.com",
        "pool.contoso.com:5061",
        "https://pool.contoso.com",
    ],
)
def test_a_name_that_is_none_is_refused(fqdn):
    with pytest.raises(UsageError, match="--target-fqdn"):
        typed_target(fqdn, None, 5061)


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(ProfileError):
        plan_trial(request("fleet.site=nowhere"), "cold", None)


def test_braces_in_a_number_are_typed_as_they_are():
    plan = plan_trial(request(number="{n}"), "cold", None)
    assert plan.specs[0].number == "{n}"


def test_a_phone_that_crashes_has_failed(tried, monkeypatch):
    def raises(*_):
        raise ValueError("a defect")

    monkeypatch.setattr(SignIn, "handle", raises)
    trials, _ = tried(request())
    result = trials["cold"].results[trials["cold"].shown]
    assert "crashed: ValueError" in result.error
