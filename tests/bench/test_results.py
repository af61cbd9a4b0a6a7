import pytest

from bench.results import Results
from bench.workload import Metric

RATE = Metric("Rate", "1/s", aim=2.0)
LATENCY = Metric("Latency", "ms", aim=2.0, is_latency=True)


def _line(metric: Metric, ours: list[float], theirs: list[float]) -> list[str]:
    results = Results(["ours", "orthanc"])
    for us, them in zip(ours, theirs, strict=True):
        results.add(metric, "ours", us)
        results.add(metric, "orthanc", them)
    return results.table().splitlines()[1].split()


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "is_missed"),
    [
        (RATE, [30, 30, 1], [10, 10, 10], False),
        (RATE, [10, 10, 90], [10, 10, 10], True),
        (LATENCY, [1, 1, 9], [3, 3, 3], False),
        (LATENCY, [3, 3, 3], [1, 1, 1], True),
    ],
)
def test_an_aim_is_judged_by_the_median_of_the_ratios_of_rounds(
    metric: Metric, ours: list[float], theirs: list[float], *, is_missed: bool
) -> None:
    assert ("missed" in _line(metric, ours, theirs)) is is_missed


def test_the_ratio_tells_how_many_times_better_we_are() -> None:
    assert "3.00" in _line(RATE, [30], [10])
    assert "3.00" in _line(LATENCY, [10], [30])


def test_one_server_alone_is_compared_with_nothing() -> None:
    results = Results(["ours"])
    results.add(RATE, "ours", 5)
    assert results.table().split() == ["metric", "unit", "ours", "Rate", "1/s", "5.0"]


def test_what_one_server_lacks_is_shown_as_not_measured() -> None:
    results = Results(["ours", "orthanc"])
    results.add(RATE, "orthanc", 5)
    assert results.table().splitlines()[1].split()[:4] == ["Rate", "1/s", "-", "5.0"]
