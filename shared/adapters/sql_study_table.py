"""The studies one after the other, and what is in each, in the index database."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import BigInteger, Connection, bindparam, func, or_, select

from shared.adapters.sql_index.columns import comparable
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.schema import instance, partition, series, study
from shared.dicom.searchable import Kind
from shared.ports import (
    KnownStudy,
    ListedInstance,
    ListedSeries,
    ListedStudy,
    PatientStudy,
    StudyTable,
)

_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.88.%"
"""The SOP classes of structured reports, which are few where images are many."""

_SPAN = select(func.count(), func.coalesce(func.max(study.c.study_key), 0)).select_from(study)
_PAGE = (
    select(study.c.study_key, partition.c.name, study.c.study_instance_uid)
    .join_from(study, partition)
    .where(
        study.c.study_key > bindparam("after", type_=BigInteger),
        study.c.study_key <= bindparam("up_to", type_=BigInteger),
    )
    .order_by(study.c.study_key)
    .limit(bindparam("limit", type_=study.c.instance_count.type))
)
_SPAN_IN_PARTITION = _SPAN.join(partition).where(partition.c.name == bindparam("partition"))
_PAGE_IN_PARTITION = _PAGE.where(partition.c.name == bindparam("partition"))
_OF_PATIENT = (
    select(partition.c.name, study.c.study_instance_uid, study.c.attributes, study.c.revision)
    .join_from(study, partition)
    .where(
        # The index begins with the partition.
        study.c.partition_key.in_(select(partition.c.partition_key)),
        study.c.patient_id == bindparam("patient", type_=study.c.patient_id.type),
    )
    .order_by(study.c.revision.desc())
    .limit(bindparam("limit", type_=study.c.instance_count.type))
)
_OF_PATIENT_IN_PARTITION = _OF_PATIENT.where(partition.c.name == bindparam("partition"))
_NEWEST_METADATA = (
    select(func.coalesce(instance.c.head_id, instance.c.blob_id))
    .join_from(instance, study)
    .join(partition)
    .where(
        partition.c.name == bindparam("partition"), study.c.study_instance_uid == bindparam("uid")
    )
    .order_by(instance.c.watermark.desc())
    .limit(1)
)
_ONE = (
    select(study.c.study_key, study.c.attributes, study.c.instance_count, study.c.revision)
    .join_from(study, partition)
    .where(
        partition.c.name == bindparam("partition"), study.c.study_instance_uid == bindparam("uid")
    )
)
_SERIES = select(
    series.c.series_key, series.c.series_instance_uid, series.c.attributes, series.c.instance_count
).where(series.c.study_key == bindparam("study"))
_INSTANCES = (
    select(
        instance.c.series_key,
        instance.c.sop_instance_uid,
        instance.c.sop_class_uid,
        instance.c.instance_number,
        instance.c.watermark,
        func.coalesce(instance.c.head_id, instance.c.blob_id),
    )
    .where(instance.c.study_key == bindparam("study"))
    .order_by(instance.c.watermark)
)
_NEWEST = (
    select(func.max(instance.c.watermark))
    .where(instance.c.study_key == bindparam("study"))
    .group_by(instance.c.series_key)
)
_FEW_INSTANCES = _INSTANCES.where(
    or_(instance.c.watermark.in_(_NEWEST), instance.c.sop_class_uid.like(_DOCUMENTS))
)


class SqlStudyTable(StudyTable):
    """Studies in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def span(self, partition_name: str | None) -> tuple[int, int]:
        """See StudyTable."""
        return await self._database.read(lambda c: _span(c, partition_name))

    async def studies(
        self, partition_name: str | None, after: int, up_to: int, limit: int
    ) -> Sequence[KnownStudy]:
        """See StudyTable."""
        page: dict[str, int | str] = {"after": after, "up_to": up_to, "limit": limit}
        return await self._database.read(lambda c: _studies(c, partition_name, page))

    async def listed(self, partition_name: str, uid: str, most: int) -> ListedStudy | None:
        """See StudyTable."""
        return await self._database.read(lambda c: _listed(c, partition_name, uid, most))

    async def of_patient(
        self, partition_name: str | None, patient_id: str, limit: int
    ) -> Sequence[PatientStudy]:
        """See StudyTable."""
        asked = {"patient": comparable(Kind.TEXT, patient_id), "limit": limit}
        if not asked["patient"]:
            return []
        return await self._database.read(lambda c: studies_of_patient(c, partition_name, asked))

    async def newest_metadata(self, partition_name: str, uid: str) -> str | None:
        """See StudyTable."""
        asked = {"partition": partition_name, "uid": uid}
        return await self._database.read(lambda c: c.scalar(_NEWEST_METADATA, asked))


def _listed(connection: Connection, partition_name: str, uid: str, most: int) -> ListedStudy | None:
    found = connection.execute(_ONE, {"partition": partition_name, "uid": uid}).one_or_none()
    if found is None:
        return None
    key, attributes, count, revision = found
    statement = _INSTANCES if count <= most else _FEW_INSTANCES
    members: defaultdict[int, list[ListedInstance]] = defaultdict(list)
    for series_key, *columns in connection.execute(statement, {"study": key}):
        members[series_key].append(ListedInstance(*columns))
    return ListedStudy(
        uid,
        orjson.loads(attributes),
        revision,
        [
            ListedSeries(series_uid, orjson.loads(document), instances, members[series_key])
            for series_key, series_uid, document, instances in connection.execute(
                _SERIES, {"study": key}
            )
        ],
    )


def studies_of_patient(
    connection: Connection, partition_name: str | None, asked: Mapping[str, object]
) -> Sequence[PatientStudy]:
    """The studies of a `patient`, as the column has it, up to a `limit`, newest first."""
    if partition_name is None:
        rows = connection.execute(_OF_PATIENT, asked)
    else:
        rows = connection.execute(_OF_PATIENT_IN_PARTITION, {**asked, "partition": partition_name})
    return [
        PatientStudy(name, uid, orjson.loads(attributes), revision)
        for name, uid, attributes, revision in rows
    ]


def _span(connection: Connection, partition_name: str | None) -> tuple[int, int]:
    if partition_name is None:
        count, highest = connection.execute(_SPAN).one()
    else:
        count, highest = connection.execute(_SPAN_IN_PARTITION, {"partition": partition_name}).one()
    return count, highest


def _studies(
    connection: Connection, partition_name: str | None, page: dict[str, int | str]
) -> Sequence[KnownStudy]:
    if partition_name is None:
        rows = connection.execute(_PAGE, page)
    else:
        rows = connection.execute(_PAGE_IN_PARTITION, {**page, "partition": partition_name})
    return [KnownStudy(*row) for row in rows]
