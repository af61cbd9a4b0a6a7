"""Every file of the corpus is stored and comes back as it was, or is refused for a reason."""

import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.dicom.header import Header, Limits, NeedsPydicom
from shared.dicom.json_model import without_bulk
from shared.dicom.part10 import scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.dicomweb.store_report import Failed, Stored, StoreOutcome
from shared.ports import Partition
from shared.wiring import Services
from tests.shared.dicom import corpus
from tests.shared.services.requests import metadata, retrieve, store

pytestmark = pytest.mark.slow

type Document = dict[str, Any]

V1_REFUSES = "Dicom element '", "The required tag '(0010,0020)' is missing."
"""What v1 has against files that v2 takes."""


def _read(services: Services, content: bytes) -> Header:
    limits = Limits(bulk_threshold=services.settings.bulk_data_threshold_bytes)
    try:
        return scan(content, limits)
    except NeedsPydicom:
        return read_with_pydicom(io.BytesIO(content), limits)


def _without(document: Document, tags: Collection[str]) -> Document:
    """The document without attributes, at any depth, and without what is given by reference."""
    return {
        tag: {**element, "Value": [_without(item, tags) for item in element["Value"]]}
        if element["vr"] == "SQ" and "Value" in element
        else {name: content for name, content in element.items() if name != "BulkDataURI"}
        for tag, element in document.items()
        if tag not in tags
    }


def _reasons(outcome: Failed) -> list[str]:
    return [problem.sentence for problem in outcome.problems] or [str(outcome.comment)]


@dataclass
class _Sent:
    content: bytes
    outcome: StoreOutcome


async def _send(services: Services, partition: Partition, file: Path, version: int) -> _Sent:
    content = file.read_bytes()
    (outcome,) = (await store(services, partition, [content], version=version)).outcomes
    return _Sent(content, outcome)


def _is_expected(outcome: StoreOutcome, severity: str) -> bool:
    match severity:
        case "ok" | "tolerate":
            return isinstance(outcome, Stored)
        case "must-refuse":
            return isinstance(outcome, Failed)
        case _:
            return severity == "may-refuse"


@pytest.mark.parametrize("file", corpus.FILES, ids=lambda file: file.name)
async def test_v2_stores_a_file_whole_or_says_why_not(
    services: Services, partition: Partition, file: Path
) -> None:
    sent = await _send(services, partition, file, 2)

    outcome = sent.outcome
    assert _is_expected(outcome, corpus.expected(file)), outcome
    if isinstance(outcome, Failed):
        assert all(len(reason) > 20 for reason in _reasons(outcome))
        assert await services.index.changes(0, 10) == []
        return
    assert await retrieve(services, partition, outcome.path) == [sent.content]
    (served,) = await metadata(services, partition, outcome.path)
    header = _read(services, sent.content)
    dropped = {problem.tag for problem in outcome.problems if problem.tag} - {"00100020"}
    assert _without(served, dropped) == _without(header.document, dropped)
    assert header.document.keys() - served.keys() <= dropped


@pytest.mark.parametrize("file", corpus.FILES, ids=lambda file: file.name)
async def test_v1_stores_a_file_whole_or_says_why_not(
    services: Services, partition: Partition, file: Path
) -> None:
    sent = await _send(services, partition, file, 1)

    outcome = sent.outcome
    if isinstance(outcome, Failed):
        is_its_own = any(reason.startswith(V1_REFUSES) for reason in _reasons(outcome))
        assert is_its_own or corpus.expected(file) in {"may-refuse", "must-refuse"}
        assert await services.index.changes(0, 10) == []
        return
    assert corpus.expected(file) != "must-refuse"
    assert await retrieve(services, partition, outcome.path) == [sent.content]
    (served,) = await metadata(services, partition, outcome.path, has_bulk=False)
    assert served == without_bulk(_read(services, sent.content).document)


def test_the_corpus_is_there() -> None:
    assert len(corpus.FILES) == 150
