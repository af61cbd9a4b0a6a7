"""What FHIR is told of a study: read from the index, and from the metadata of a few instances."""

import asyncio
from collections.abc import Sequence

import orjson

from shared.dicom.blob_names import metadata_blob
from shared.dicom.json_model import Document
from shared.dicom.searchable import tag_of
from shared.errors import BlobNotFoundError, StoreUnavailableError
from shared.fhir.study_content import (
    InstanceContent,
    SeriesContent,
    StudyContent,
    has_told_content,
)
from shared.ports import BlobStore, ListedInstance, ListedSeries, ListedStudy, StudyTable
from shared.services.metadata_file import document_of

_READS_AT_ONCE = 16
_TRIES = 3
_MOST_DOCUMENTS = 200
_SOP_CLASS_UID = tag_of("SOPClassUID")
_INSTANCE_NUMBER = tag_of("InstanceNumber")


class StudyContents:
    """Reads studies: of each series the metadata of its newest instance, and of documents all."""

    def __init__(self, blobs: BlobStore, studies: StudyTable) -> None:
        self._blobs = blobs
        self._studies = studies

    async def read(self, partition_name: str, uid: str, most: int) -> StudyContent | None:
        """A study as it is now, None where there is none; of more than `most` instances none.

        Raises:
            StoreUnavailableError: Also where it changes faster than it can be read.
        """
        for _ in range(_TRIES):
            listed = await self._studies.listed(partition_name, uid, most)
            if listed is None:
                return None
            try:
                return await self._content(partition_name, listed, most)
            except BlobNotFoundError:
                continue  # Deleted meanwhile.
        raise StoreUnavailableError("The metadata of a study cannot be read now.")

    async def _content(self, partition_name: str, listed: ListedStudy, most: int) -> StudyContent:
        needed = [_newest(series) for series in listed.series]
        documents = [
            instance
            for series in listed.series
            for instance in series.instances
            if instance.sop_class_uid and has_told_content(instance.sop_class_uid)
        ]
        # The oldest ones, so that what has been told once is not forgotten when more come.
        documents = sorted(documents, key=lambda one: one.watermark)[:_MOST_DOCUMENTS]
        needed += documents
        read = await self._documents(list(dict.fromkeys(one.metadata_id for one in needed)))
        whole = {one.uid for one in documents}
        are_all_listed = sum(one.instance_count for one in listed.series) <= most
        first = min(listed.series, key=lambda series: series.uid)
        return StudyContent(
            listed.uid,
            partition_name,
            _over(read[_newest(first).metadata_id], listed.attributes),
            [_series(one, read, whole, are_all_listed=are_all_listed) for one in listed.series],
            listed.is_newest_of_patient,
        )

    async def _documents(self, ids: Sequence[str]) -> dict[str, Document]:
        slots = asyncio.Semaphore(_READS_AT_ONCE)

        async def document(metadata_id: str) -> Document:
            async with slots:
                content = await self._blobs.get(metadata_blob(metadata_id))
            found: Document = orjson.loads(document_of(content))
            return found

        return dict(zip(ids, await asyncio.gather(*map(document, ids)), strict=True))


def _newest(series: ListedSeries) -> ListedInstance:
    return max(series.instances, key=lambda instance: instance.watermark)


def _series(
    series: ListedSeries, read: dict[str, Document], whole: set[str], *, are_all_listed: bool
) -> SeriesContent:
    newest = _newest(series)
    # Documents are told of also where there are too many images to be listed.
    listed = [one for one in series.instances if are_all_listed or one.uid in whole]
    return SeriesContent(
        series.uid,
        _over(read[newest.metadata_id], series.attributes),
        series.instance_count,
        [_instance(one, read, is_whole=one.uid in whole) for one in listed],
    )


def _instance(
    instance: ListedInstance, read: dict[str, Document], *, is_whole: bool
) -> InstanceContent:
    if is_whole:
        return InstanceContent(instance.uid, read[instance.metadata_id], is_whole=True)
    document: Document = {}
    if instance.sop_class_uid:
        document[_SOP_CLASS_UID] = {"vr": "UI", "Value": [instance.sop_class_uid]}
    if instance.number is not None:
        document[_INSTANCE_NUMBER] = {"vr": "IS", "Value": [instance.number]}
    return InstanceContent(instance.uid, document)


def _over(document: Document, attributes: Document) -> Document:
    """What the index has of all instances, over what one of them says."""
    return document | {tag: element for tag, element in attributes.items() if "Value" in element}
