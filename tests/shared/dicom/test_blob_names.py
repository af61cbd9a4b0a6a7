from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.blob_names import (
    blob_id_of,
    day_of,
    dicom_blob,
    frames_blob,
    instance_blobs,
    metadata_blob,
    new_blob_id,
    series_document_blob,
    time_of,
    tombstone_blob,
)

_UNTIL_2200 = st.integers(0, 7_258_118_400_000)


def test_a_blob_id_is_a_uuid_of_version_7() -> None:
    blob_id = new_blob_id()
    assert UUID(hex=blob_id).version == 7
    assert UUID(hex=blob_id).hex == blob_id


@given(_UNTIL_2200, _UNTIL_2200)
def test_blob_ids_sort_by_the_time_they_were_drawn(one: int, other: int) -> None:
    assert one == other or (one < other) == (new_blob_id(one) < new_blob_id(other))


@given(_UNTIL_2200)
def test_a_blob_id_tells_its_time_to_the_millisecond(now_ms: int) -> None:
    assert time_of(new_blob_id(now_ms)) == datetime.fromtimestamp(now_ms / 1000, UTC)


def test_ids_of_the_same_millisecond_differ() -> None:
    assert len({new_blob_id(0) for _ in range(1000)}) == 1000


def test_a_time_before_1970_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        new_blob_id(-1)


def test_the_day_is_that_of_utc() -> None:
    last_of_the_day = datetime(2026, 2, 28, 23, 59, 59, 999000, UTC)
    assert day_of(new_blob_id(int(last_of_the_day.timestamp() * 1000))) == "20260228"


def test_blobs_of_an_instance_lie_under_kind_spread_and_day() -> None:
    blob_id = "019c2bb8f400700080000000000000ab"
    assert dicom_blob(blob_id) == f"dicom/67/20260205/{blob_id}"
    assert metadata_blob(blob_id) == f"metadata/67/20260205/{blob_id}.json.gz"
    assert frames_blob(blob_id) == f"frames/67/20260205/{blob_id}.json.gz"
    assert tombstone_blob(blob_id) == f"tombstones/67/20260205/{blob_id}.json"


def test_only_an_instance_with_a_big_frame_map_has_a_frames_blob() -> None:
    blob_id = new_blob_id()
    without = (dicom_blob(blob_id), metadata_blob(blob_id))
    assert instance_blobs(blob_id, has_frames_blob=False) == without
    assert instance_blobs(blob_id, has_frames_blob=True) == (*without, frames_blob(blob_id))


def test_the_blob_id_can_be_told_from_the_names_of_an_instance() -> None:
    blob_id = new_blob_id()
    names = instance_blobs(blob_id, has_frames_blob=True)
    assert [blob_id_of(name) for name in names] == [blob_id] * 3


def test_a_series_document_is_made_of_no_blob_id() -> None:
    assert blob_id_of(series_document_blob(7, 42)) is None


def test_a_series_document_lies_under_its_series_and_revision() -> None:
    assert series_document_blob(7, 42) == "series-metadata/7/42.json.gz"


def test_names_spread_over_many_folders() -> None:
    folders = {dicom_blob(new_blob_id(0)).split("/")[1] for _ in range(2000)}
    assert len(folders) == 100
