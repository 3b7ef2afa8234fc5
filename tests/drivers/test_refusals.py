import errno

from phonesim.drivers.refusals import Refusals


class Observer:
    def __init__(self) -> None:
        self.reports: list[tuple[object, ...]] = []

    def report(self, *report: object) -> None:
        self.reports.append(report)


def test_each_kind_of_refusal_is_reported_once() -> None:
    observer = Observer()
    refusals = Refusals("eth0", "it was refused", observer, lambda: 7.0)
    refusals.met(OSError(errno.ENETUNREACH, "no way there"))
    refusals.met(OSError("not numbered"))
    refusals.met(OSError(errno.ENETUNREACH, "no way there, again"))
    assert observer.reports == [
        ("eth0", "it was refused", (("error", "no way there"),), True, 7.0),
        ("eth0", "it was refused", (("error", "not numbered"),), True, 7.0),
    ]
    assert refusals.kinds == ("no way there", "not numbered")
