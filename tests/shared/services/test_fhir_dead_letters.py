"""Studies that were put aside, and when they are tried again."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import AmbiguousIdentityError, FhirMappingError, FhirRefusedError, NotFoundError
from shared.services.fhir_dead_letters import IGNORED, OPEN, DeadLetters
from tests.archive import open_archive

PARTITION, STUDY = "Microsoft.Default", "1.2.3"
REFUSED = FhirRefusedError("It refuses.", 422, ("invariant ImagingStudy.series[0]", "value"))
MANY = 12


@pytest.fixture
async def letters(tmp_path: Path) -> AsyncIterator[DeadLetters]:
    settings = {
        "FHIR_URL": "http://127.0.0.1:9/fhir",
        "FHIR_DICOMWEB_URL": "http://127.0.0.1:7071/v2",
        "FHIR_PATIENT_SYSTEM": "urn:x-hospital:patient",
    }
    async with open_archive(tmp_path, **settings) as services:
        yield services.fhir.letters


async def test_a_study_that_fails_again_and_again_is_one_letter(letters: DeadLetters) -> None:
    await letters.note(PARTITION, STUDY, REFUSED, 5)
    await letters.note(PARTITION, STUDY, FhirMappingError("Cannot be said."), 9)
    await letters.note(PARTITION, STUDY, AmbiguousIdentityError("Two."))

    [letter] = await letters.list(10, 0)
    assert (letter.partition, letter.study, letter.state) == (PARTITION, STUDY, OPEN)
    assert (letter.first_sequence, letter.last_sequence, letter.attempts) == (5, 9, 3)
    assert (letter.error, letter.status, letter.issues) == ("AmbiguousIdentity", 0, "")
    assert letter.first_seen <= letter.last_seen < letter.next_attempt


async def test_a_letter_tells_codes_and_places_of_a_refusal(letters: DeadLetters) -> None:
    await letters.note(PARTITION, STUDY, REFUSED)

    [letter] = await letters.list(10, 0)
    assert (letter.error, letter.status) == ("FhirRefused", 422)
    assert letter.issues == "invariant ImagingStudy.series[0]; value"


async def test_the_same_study_in_another_partition_is_another_letter(letters: DeadLetters) -> None:
    await letters.note(PARTITION, STUDY, REFUSED)
    await letters.note("Other", STUDY, REFUSED)

    assert {one.partition for one in await letters.list(10, 0)} == {PARTITION, "Other"}


async def test_each_attempt_waits_twice_as_long_up_to_a_day(letters: DeadLetters) -> None:
    pauses = []
    for _ in range(MANY):
        await letters.note(PARTITION, STUDY, REFUSED)
        [letter] = await letters.list(10, 0)
        pauses.append((letter.next_attempt - letter.last_seen).total_seconds() / 60)

    assert pauses == [min(5 * 2**attempt, 24 * 60) for attempt in range(MANY)]


async def test_a_letter_is_due_when_its_time_has_come(letters: DeadLetters) -> None:
    await letters.note(PARTITION, STUDY, REFUSED)
    now = datetime.now(UTC)

    assert await letters.due(now, 10) == []
    assert await letters.due(now + timedelta(minutes=6), 10) == [(PARTITION, STUDY)]


async def test_no_more_letters_are_due_than_are_asked_for(letters: DeadLetters) -> None:
    for number in range(MANY):
        await letters.note(PARTITION, f"1.2.{number}", REFUSED)

    due = await letters.due(datetime.now(UTC) + timedelta(hours=1), MANY // 2)

    assert len(set(due)) == MANY // 2


async def test_a_letter_that_is_ignored_is_not_due_until_its_study_fails_again(
    letters: DeadLetters,
) -> None:
    await letters.note(PARTITION, STUDY, REFUSED)
    [letter] = await letters.list(10, 0)
    later = datetime.now(UTC) + timedelta(days=2)

    ignored = await letters.ignore(letter.id)

    assert ignored.state == IGNORED
    assert await letters.count_open() == 0
    assert await letters.due(later, 10) == []
    await letters.note(PARTITION, STUDY, REFUSED)
    assert await letters.due(later, 10) == [(PARTITION, STUDY)]


async def test_a_study_that_is_told_of_has_no_letter_any_more(letters: DeadLetters) -> None:
    await letters.note(PARTITION, STUDY, REFUSED)
    [letter] = await letters.list(10, 0)

    await letters.resolve(PARTITION, STUDY)
    await letters.resolve(PARTITION, STUDY)

    assert await letters.list(10, 0) == []
    with pytest.raises(NotFoundError):
        await letters.get(letter.id)


@pytest.mark.parametrize("name", ["", "x", "0" * 32, "../" * 8, "a" * 4096])
async def test_a_letter_that_is_not_there_is_not_found(letters: DeadLetters, name: str) -> None:
    with pytest.raises(NotFoundError):
        await letters.get(name)
    with pytest.raises(NotFoundError):
        await letters.ignore(name)


async def test_letters_are_listed_page_by_page(letters: DeadLetters) -> None:
    for number in range(MANY):
        await letters.note(PARTITION, f"1.2.{number}", REFUSED)

    pages = [await letters.list(5, offset) for offset in (0, 5, 10, 15)]

    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert len({one.id for page in pages for one in page}) == MANY


async def test_no_letter_has_words_of_an_error(letters: DeadLetters) -> None:
    await letters.note(PARTITION, STUDY, FhirMappingError("Canary"))

    [letter] = await letters.list(10, 0)
    assert "Canary" not in str(asdict(letter))
