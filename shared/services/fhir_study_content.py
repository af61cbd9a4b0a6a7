"""What FHIR is told of a study: read from the index, and from the metadata of a few instances."""

import asyncio
from collections.abc import Sequence

import orjson

from shared.dicom.blob_names import metadata_blob
from shared.dicom.json_model import Document
from shared.dicom.searchable import tag_of
from shared.errors import BlobNotFoundError, FhirMappingError
from shared.fhir.data_set import DataSet
from shared.fhir.mapping_warning import Warnings
from shared.fhir.merge import is_somebody_else
from shared.fhir.patient import has_issuer, is_phantom, map_patient, patient_identifier
from shared.fhir.resource import Identifier
from shared.fhir.rules import MappingRules
from shared.fhir.study_content import (
    InstanceContent,
    SeriesContent,
    StudyContent,
    has_told_content,
)
from shared.ports import (
    BlobStore,
    ListedInstance,
    ListedSeries,
    ListedStudy,
    PatientStudy,
    StudyTable,
)
from shared.services.kept_instance import UNREADABLE
from shared.services.metadata_file import document_of

_READS_AT_ONCE = 16
_TRIES = 3
_MOST_DOCUMENTS = 200
_MOST_OTHERS = 50
"""Studies of the same Patient ID that are looked at, the newest ones."""
_MOST_RIVALS = 5
"""Of those that contradict, so many are asked who has issued their Patient ID."""
_SOP_CLASS_UID = tag_of("SOPClassUID")
_INSTANCE_NUMBER = tag_of("InstanceNumber")


class StudyContents:
    """Reads studies: of each series the metadata of its newest instance, and of documents all."""

    def __init__(self, blobs: BlobStore, studies: StudyTable, rules: MappingRules) -> None:
        self._blobs = blobs
        self._studies = studies
        self._rules = rules

    async def read(self, partition_name: str, uid: str, most: int) -> StudyContent | None:
        """A study as it is now, None where there is none; of more than `most` instances none.

        Raises:
            StoreUnavailableError: A store does not answer.
            FhirMappingError: Metadata are missing or damaged, or change faster than they can be
                read.
        """
        for _ in range(_TRIES):
            listed = await self._studies.listed(partition_name, uid, most)
            if listed is None:
                return None
            try:
                return await self._content(partition_name, listed, most)
            except BlobNotFoundError:
                continue  # Deleted meanwhile.
        raise FhirMappingError("The metadata of a study are missing.")

    async def newest_of_patient(
        self, partition_name: str, patient_id: str, but: str
    ) -> tuple[str, str] | None:
        """Partition and UID of the study of a Patient ID that has changed last, but for one."""
        found = await self._studies.of_patient(self._scope(partition_name), patient_id, 2)
        names = [(one.partition_name, one.uid) for one in found]
        return next((name for name in names if name != (partition_name, but)), None)

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
        document = _over(_document_of_patient(listed, read), listed.attributes)
        is_newest, is_contested = await self._standing(partition_name, listed, document)
        return StudyContent(
            listed.uid,
            partition_name,
            document,
            [_series(one, read, whole, are_all_listed=are_all_listed) for one in listed.series],
            is_newest,
            is_contested,
        )

    async def _standing(
        self, partition_name: str, listed: ListedStudy, document: Document
    ) -> tuple[bool, bool]:
        """Whether the study is the newest of its patient, and whether another contradicts it."""
        patient = map_patient(DataSet(document), self._rules.within(partition_name), Warnings())
        if patient is None:
            return True, False
        patient_id = patient.key.value
        scope = self._scope(partition_name)
        is_newest, rivals, asked = True, 0, 0
        for other in await self._studies.of_patient(scope, patient_id, _MOST_OTHERS):
            is_itself = (other.partition_name, other.uid) == (partition_name, listed.uid)
            theirs = map_patient(DataSet(other.attributes), self._rules, Warnings())
            if is_itself or theirs is None or theirs.key.value != patient_id:
                continue
            if is_somebody_else(patient.resource, theirs.resource):
                asked += 1
                if asked > _MOST_RIVALS or not await self._is_known_as(other, patient.key):
                    continue
                rivals += 1
            is_newest = is_newest and other.revision < listed.revision
        return is_newest, rivals > 0

    async def _is_known_as(self, other: PatientStudy, key: Identifier) -> bool:
        """Whether the patient of a study has an identifier: who has issued it, no index knows."""
        metadata_id = await self._studies.newest_metadata(other.partition_name, other.uid)
        if metadata_id is None:
            return False
        try:
            document = (await self._documents([metadata_id]))[metadata_id]
        except (BlobNotFoundError, FhirMappingError):
            return True  # Who knows; so it is as if it were.
        rules = self._rules.within(other.partition_name)
        return patient_identifier(DataSet(_over(document, other.attributes)), rules) == key

    def _scope(self, partition_name: str) -> str | None:
        """Where else there may be studies of the same patients, None if anywhere."""
        return None if self._rules.shares_patients else partition_name

    async def _documents(self, ids: Sequence[str]) -> dict[str, Document]:
        slots = asyncio.Semaphore(_READS_AT_ONCE)

        async def document(metadata_id: str) -> Document:
            async with slots:
                content = await self._blobs.get(metadata_blob(metadata_id))
            try:
                found: Document = orjson.loads(document_of(content))
            except UNREADABLE as error:
                raise FhirMappingError("The metadata of an instance are damaged.") from error
            return found

        return dict(zip(ids, await asyncio.gather(*map(document, ids)), strict=True))


def _document_of_patient(listed: ListedStudy, read: dict[str, Document]) -> Document:
    """The metadata that say most about whom the study is of: all from one, lest they are mixed.

    Of a study that is partly of somebody else, or of nobody, the index knows the Patient ID.
    """
    patient_id = DataSet(listed.attributes).text("PatientID")

    def rank(instance: ListedInstance) -> tuple[bool, bool, bool, int]:
        data_set = DataSet(read[instance.metadata_id])
        is_of_patient = data_set.text("PatientID") == patient_id
        return is_of_patient, not is_phantom(data_set), has_issuer(data_set), instance.watermark

    return read[max(map(_newest, listed.series), key=rank).metadata_id]


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
