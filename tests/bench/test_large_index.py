import sys
from itertools import islice
from pathlib import Path

import pytest

from bench import large_index
from shared.dicom.resource import Level


def test_the_archive_is_the_same_every_time() -> None:
    first, second = (
        [item.attributes for item in islice(large_index.Archive().instances(), 300)]
        for _ in range(2)
    )
    assert first == second
    assert len({str(one[Level.STUDY]) for one in first}) > 1


def test_both_sizes_are_filled_and_every_search_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--first", "600", "--instances", "1200", "--repeats", "3"]
    monkeypatch.setattr(sys, "argv", ["large_index", *sizes, "--folder", str(tmp_path)])

    large_index.main()

    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "1200 instances" in printed
    assert lines[-10].split() == [
        *("milliseconds", "600", "p50", "p95", "results", "1200", "p50", "p95", "results", "ratio")
    ]
    for line in lines[-9:]:
        *_, p50, _, results, ratio = line.split()
        assert float(p50) > 0
        assert float(results) > 0
        assert float(ratio) > 0
