"""Rules for every test.

`@pytest.mark.interop("dnsmasq", ...)` names the servers that a test boots against; they run in
network namespaces, so it needs root as well. Where something is missing, such tests are left
out, and the head of the report says why. With PHONESIM_REQUIRE_INTEROP=1 they fail instead.

Property tests try the same examples every time, so that a failure is of the change that made
it; `make fuzz` has them look for new ones. None has to be quick: other tests run beside it.
"""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from hypothesis import settings

REQUIRE_INTEROP = "PHONESIM_REQUIRE_INTEROP"
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

_LONGEST_NAME = 60

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile("same")

_left_out = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden logs anew; then read them"
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ["PATH"] = SEARCH_PATH
    # Who runs the tests in the background hands down an ignored SIGINT, and the programs that
    # tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_left_out] = {}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    # A document or a key as a name is unreadable, and those that are made anew in each process
    # have a test of another name there.
    return argname if isinstance(val, str | bytes) and len(val) > _LONGEST_NAME else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_interop_required():
        return
    kept, left_out = [], []
    for item in items:
        lacking = missing_for(item)
        if lacking is None:
            kept.append(item)
        else:
            left_out.append(item)
            reasons = config.stash[_left_out]
            reasons[lacking] = reasons.get(lacking, 0) + 1
    if left_out:
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return [
        f"interop tests left out: {count} ({reason})"
        for reason, count in config.stash[_left_out].items()
    ]


def pytest_runtest_setup(item: pytest.Item) -> None:
    lacking = missing_for(item)
    if lacking is not None:
        pytest.fail(f"{REQUIRE_INTEROP} is set, but {lacking}", pytrace=False)
    if is_beside_its_group(item):
        pytest.fail("its xdist_group is not kept in one process: --dist=loadgroup", pytrace=False)


def is_interop_required() -> bool:
    return os.environ.get(REQUIRE_INTEROP, "") not in ("", "0")


def is_beside_its_group(item: pytest.Item) -> bool:
    """Whether tests of the same group may run in other processes at the same time.

    pytest-xdist hands a group to its scheduler in the test's name, and where it cannot, is silent.
    """
    in_a_group = item.get_closest_marker("xdist_group") is not None
    return in_a_group and "PYTEST_XDIST_WORKER" in os.environ and "@" not in item.nodeid


def missing_for(item: pytest.Item) -> str | None:
    """What an interop test needs and this machine lacks; None for a test that can run."""
    marks = list(item.iter_markers("interop"))
    if not marks:
        return None
    if os.geteuid() != 0:
        return "network namespaces need root"
    programs = dict.fromkeys(["ip", *(program for mark in marks for program in mark.args)])
    absent = [program for program in programs if shutil.which(program) is None]
    return f"not installed: {', '.join(absent)}" if absent else None
