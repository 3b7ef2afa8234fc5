import os
from pathlib import Path

import pytest

pytest_plugins = "pytester"

TESTS = """
import pytest

@pytest.mark.interop("no-such-server")
def test_against_a_server():
    pass

def test_of_another_kind():
    pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = interop\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(TESTS)
    return pytester


def reason() -> str:
    if os.geteuid() == 0:
        return "not installed: no-such-server"
    return "network namespaces need root"


def test_without_its_server_an_interop_test_is_left_out_and_the_report_says_why(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PHONESIM_REQUIRE_INTEROP", raising=False)
    result = suite.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines([f"interop tests left out: 1 ({reason()})"])


def test_where_interop_is_required_a_missing_server_is_a_failure(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHONESIM_REQUIRE_INTEROP", "1")
    result = suite.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*PHONESIM_REQUIRE_INTEROP is set, but {reason()}*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
