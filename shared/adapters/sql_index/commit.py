"""Adding instances: a fixed number of statements, however many instances there are.

Studies are locked before anything is read of them; rows are changed in one order: studies by key,
series by key, their instances.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched, islice
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    update,
)

from shared.adapters.sql_index.attributes import (
    SERIES_DOCUMENTS,
    STUDY_DOCUMENTS,
    digest,
    overlay,
    to_text,
)
from shared.adapters.sql_index.changes import add_changes
from shared.adapters.sql_index.describe import (
    Described,
    add_name_words,
    add_request_items,
    correct_modalities,
    describe_series,
    describe_studies,
    described,
    modality,
)
from shared.adapters.sql_index.locks import lock_studies
from shared.adapters.sql_index.schema import instance, series, study, tag_set
from shared.adapters.sql_index.tag_errors import carry_errors, known_errors
from shared.adapters.sql_index.tag_values import Placed, add_values, drop_values
from shared.dicom.json_model import Document
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.errors import TagSetChangedError
from shared.ports import AlreadyStored, ChangeAction, CommitOutcome, Committed, NewInstance

ROWS_AT_ONCE = 500

# There is always a row, and on SQL Server no tag is added while the transaction goes on.
FIND = (
    select(
        tag_set.c.version.label("tag_set_version"),
        study.c.study_instance_uid,
        study.c.study_key,
        study.c.attributes.label("study_attributes"),
        study.c.modalities,
        series.c.series_instance_uid,
        series.c.series_key,
        series.c.attributes.label("series_attributes"),
        instance.c.sop_instance_uid,
        instance.c.watermark,
        instance.c.blob_id,
        instance.c.sha256,
        instance.c.frames,
        instance.c.head_id,
    )
    .select_from(
        tag_set.outerjoin(
            study,
            and_(
                study.c.partition_key == bindparam("partition_key"),
                study.c.study_instance_uid.in_(bindparam("study_uids", expanding=True)),
            ),
        )
        .outerjoin(
            series,
            and_(
                series.c.study_key == study.c.study_key,
                series.c.series_instance_uid.in_(bindparam("series_uids", expanding=True)),
            ),
        )
        .outerjoin(
            instance,
            and_(
                instance.c.series_key == series.c.series_key,
                instance.c.sop_instance_uid.in_(bindparam("instance_uids", expanding=True)),
            ),
        )
    )
    .where(tag_set.c.tag_set_key == literal_column("1"))
    .with_hint(tag_set, "WITH (REPEATABLEREAD, ROWLOCK)", "mssql")
)
_ADD_STUDIES = insert(study).returning(study.c.study_key, sort_by_parameter_order=True)
_ADD_SERIES = insert(series).returning(series.c.series_key, sort_by_parameter_order=True)
_ADD_INSTANCES = insert(instance)
_DROP_INSTANCES = delete(instance).where(instance.c.watermark == bindparam("row_key"))
_GROW_STUDY = (
    update(study)
    .where(study.c.study_key == bindparam("row_key"))
    .values(
        series_count=study.c.series_count + bindparam("more_series"),
        instance_count=study.c.instance_count + bindparam("more_instances"),
        modalities=bindparam("all_modalities"),
        revision=bindparam("new_revision"),
    )
)
_GROW_SERIES = (
    update(series)
    .where(series.c.series_key == bindparam("row_key"))
    .values(
        instance_count=series.c.instance_count + bindparam("more_instances"),
        revision=bindparam("new_revision"),
        changed_at=bindparam("now", type_=series.c.changed_at.type),
    )
)


@dataclass(slots=True)
class StudyRow:
    """A study that gets instances; `key` is 0 until the row is there."""

    uid: Uid
    key: int = 0
    before: Document = field(default_factory=dict)
    after: Document = field(default_factory=dict)
    modalities: frozenset[str] = frozenset()
    more_series: int = 0
    more_instances: int = 0
    revision: int = 0


@dataclass(slots=True)
class SeriesRow:
    """A series that gets instances; `key` is 0 until the row is there."""

    uid: Uid
    study: StudyRow
    key: int = 0
    before: Document = field(default_factory=dict)
    after: Document = field(default_factory=dict)
    more_instances: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """An instance that the index holds."""

    watermark: int
    blob_id: str
    sha256: str
    has_frames_blob: bool
    head_id: str | None

    def blobs(self) -> Iterator[tuple[str, bool]]:
        """All blobs of it by their ids, and whether each has a frame map blob."""
        yield self.blob_id, self.has_frames_blob
        if self.head_id is not None:
            yield self.head_id, False


def commit_all(
    connection: Connection, requests: Sequence[tuple[int, Sequence[NewInstance]]]
) -> list[list[CommitOutcome]]:
    """Do many commits, each of instances into the partition of a key, as if one after the other."""
    outcomes = {
        key: iter(
            _commit(
                connection, key, [item for one, items in requests if one == key for item in items]
            )
        )
        for key in sorted({key for key, _ in requests})
    }
    return [list(islice(outcomes[key], len(items))) for key, items in requests]


def _commit(
    connection: Connection, partition_key: int, instances: Sequence[NewInstance]
) -> list[CommitOutcome]:
    lock_studies(connection, partition_key, (item.path.study for item in instances))
    batch = Batch(connection, partition_key)
    batch.find(instances)
    new: dict[ResourcePath, NewInstance] = {}
    for item in instances:
        if item.path not in batch.held:
            new.setdefault(item.path, item)
    if new:
        batch.add(list(new.values()))
    return [_outcome(batch.held[item.path], item) for item in instances]


def _outcome(held: Held, item: NewInstance) -> CommitOutcome:
    if held.blob_id == item.file.blob_id:
        return Committed(held.watermark)
    return AlreadyStored(held.blob_id, held.sha256)


def _held_study(row: Row[*tuple[Any, ...]]) -> StudyRow:
    attributes = orjson.loads(row.study_attributes)
    modalities = frozenset(orjson.loads(row.modalities))
    return StudyRow(Uid(row.study_instance_uid), row.study_key, attributes, attributes, modalities)


def _held_series(row: Row[*tuple[Any, ...]], owner: StudyRow) -> SeriesRow:
    attributes = orjson.loads(row.series_attributes)
    return SeriesRow(Uid(row.series_instance_uid), owner, row.series_key, attributes, attributes)


class Batch:
    """The studies, series and instances of a batch, as they are and as they become."""

    def __init__(self, connection: Connection, partition_key: int) -> None:
        self._connection = connection
        self._partition_key = partition_key
        self.studies: dict[Uid, StudyRow] = {}
        self.series: dict[tuple[Uid, Uid | None], SeriesRow] = {}
        self.held: dict[ResourcePath, Held] = {}
        self._tag_set_version = 0

    @property
    def has_tags(self) -> bool:
        """Whether there are extended query tags, or ever were."""
        return self._tag_set_version > 0

    def find(self, instances: Sequence[NewInstance]) -> None:
        """Read what the index holds of the studies, series and instances of a batch."""
        for some in batched(instances, ROWS_AT_ONCE, strict=False):
            parameters = {
                "partition_key": self._partition_key,
                "study_uids": sorted({item.path.study for item in some}),
                "series_uids": list({item.path.series for item in some}),
                "instance_uids": [item.path.instance for item in some],
            }
            for row in self._connection.execute(FIND, parameters):
                self._tag_set_version = row.tag_set_version
                self._note_held(row)

    def _note_held(self, row: Row[*tuple[Any, ...]]) -> None:
        if row.study_key is None:
            return
        owner = self.studies.get(row.study_instance_uid)
        if owner is None:
            owner = _held_study(row)
            self.studies[owner.uid] = owner
        if row.series_key is None:
            return
        parent = self.series.get((owner.uid, row.series_instance_uid))
        if parent is None:
            parent = _held_series(row, owner)
            self.series[owner.uid, parent.uid] = parent
        if row.watermark is not None:
            path = ResourcePath(owner.uid, parent.uid, Uid(row.sop_instance_uid))
            self.held[path] = Held(
                row.watermark, row.blob_id, row.sha256, row.frames == "blob", row.head_id
            )

    def add(self, instances: Sequence[NewInstance]) -> None:
        """Add instances, in the place of those that the index holds, and what follows from them.

        Raises:
            TagSetChangedError: They were read for another set of tags than there is.
        """
        if any(item.tag_values.version != self._tag_set_version for item in instances):
            raise TagSetChangedError
        replaced = {item.path: self.held[item.path] for item in instances if item.path in self.held}
        erring = [item.path for item in instances if item.tag_errors and item.path in replaced]
        known = known_errors(self._connection, {replaced[path].watermark: path for path in erring})
        changes = [
            (ChangeAction.UPDATE if item.path in replaced else ChangeAction.CREATE, item.path)
            for item in instances
        ]
        watermarks = add_changes(self._connection, self._partition_key, changes)
        for item, watermark in zip(instances, watermarks, strict=True):
            self._take(item, watermark)
        self._write_studies()
        self._write_series()
        if replaced:
            rows = [{"row_key": held.watermark} for held in replaced.values()]
            self._connection.execute(_DROP_INSTANCES, rows)
            if self.has_tags:
                drop_values(self._connection, [held.watermark for held in replaced.values()])
        self._write_instances(instances, watermarks)
        carry_errors(self._connection, zip(instances, watermarks, strict=True), known)

    def _take(self, item: NewInstance, watermark: int) -> None:
        path = item.path
        more_instances = int(path not in self.held)
        owner = self.studies.setdefault(path.study, StudyRow(path.study))
        owner.after = overlay(owner.after, item.attributes[Level.STUDY])
        owner.more_instances += more_instances
        owner.revision = watermark
        parent = self.series.get((path.study, path.series))
        if parent is None:
            parent = SeriesRow(Uid(str(path.series)), owner)
            self.series[path.study, path.series] = parent
            owner.more_series += 1
        parent.after = overlay(parent.after, item.attributes[Level.SERIES])
        parent.more_instances += more_instances
        parent.revision = watermark
        file = item.file
        head_id = None if file.head is None else file.head.blob_id
        self.held[path] = Held(watermark, file.blob_id, file.sha256, file.frames == "blob", head_id)

    def _write_studies(self) -> None:
        for parent in self.series.values():
            parent.study.modalities |= modality(parent.after)
        touched = [item for item in self.studies.values() if item.revision]
        old = _in_order_of_locks(touched)
        new = [item for item in touched if not item.key]
        if old:
            self._connection.execute(_GROW_STUDY, [_growth_of_study(item) for item in old])
            rows = [Described(item.key, item.before, item.after) for item in old]
            describe_studies(self._connection, self._partition_key, rows)
        if new:
            values = [{"partition_key": self._partition_key, **_new_study(item)} for item in new]
            keys = self._connection.execute(_ADD_STUDIES, values).scalars()
            for item, key in zip(new, keys, strict=True):
                item.key = key
            names = ((item.key, item.after) for item in new)
            add_name_words(self._connection, self._partition_key, names)

    def _write_series(self) -> None:
        now = datetime.now(UTC)
        touched = [item for item in self.series.values() if item.revision]
        old = _in_order_of_locks(touched)
        new = [item for item in touched if not item.key]
        if old:
            values = [{"now": now, **_growth_of_series(item)} for item in old]
            self._connection.execute(_GROW_SERIES, values)
            rows = [Described(item.key, item.before, item.after) for item in old]
            describe_series(self._connection, self._partition_key, rows)
        if new:
            values = [
                {"partition_key": self._partition_key, "changed_at": now, **_new_series(item)}
                for item in new
            ]
            keys = self._connection.execute(_ADD_SERIES, values).scalars()
            for item, key in zip(new, keys, strict=True):
                item.key = key
            sequences = ((item.key, item.after) for item in new)
            add_request_items(self._connection, self._partition_key, sequences)
        self._correct_modalities(old)

    def _correct_modalities(self, old: Iterable[SeriesRow]) -> None:
        """A series that changes its modality may have been the last of the one it had."""
        changed = {item.study.key for item in old if modality(item.before) != modality(item.after)}
        correct_modalities(self._connection, changed)

    def _write_instances(self, instances: Sequence[NewInstance], watermarks: Sequence[int]) -> None:
        rows: list[dict[str, Any]] = []
        of_studies: dict[tuple[int, str], Document] = {}
        of_series: dict[tuple[int, str], Document] = {}
        links: list[tuple[tuple[int, str], tuple[int, str]]] = []
        for item, watermark in zip(instances, watermarks, strict=True):
            parent = self.series[item.path.study, item.path.series]
            rows.append({"partition_key": self._partition_key, **_row(item, watermark, parent)})
            links.append(
                (
                    _note(of_studies, parent.study.key, item.attributes[Level.STUDY]),
                    _note(of_series, parent.key, item.attributes[Level.SERIES]),
                )
            )
        study_keys = STUDY_DOCUMENTS.keep(self._connection, of_studies)
        series_keys = SERIES_DOCUMENTS.keep(self._connection, of_series)
        for row, (of_study, of_one_series) in zip(rows, links, strict=True):
            row["study_attributes_key"] = study_keys[of_study]
            row["series_attributes_key"] = series_keys[of_one_series]
        self._connection.execute(_ADD_INSTANCES, rows)
        if self.has_tags:
            placed = (
                Placed(row["watermark"], row["study_key"], row["series_key"], item.tag_values)
                for row, item in zip(rows, instances, strict=True)
            )
            add_values(self._connection, self._partition_key, placed)


def _in_order_of_locks[T: (StudyRow, SeriesRow)](touched: Iterable[T]) -> list[T]:
    return sorted((item for item in touched if item.key), key=lambda item: item.key)


def _note(
    documents: dict[tuple[int, str], Document], owner: int, document: Document
) -> tuple[int, str]:
    item = (owner, digest(document))
    documents[item] = document
    return item


def _growth_of_study(item: StudyRow) -> Mapping[str, Any]:
    return {
        "row_key": item.key,
        "more_series": item.more_series,
        "more_instances": item.more_instances,
        "all_modalities": to_text(sorted(item.modalities)),
        "new_revision": item.revision,
    }


def _growth_of_series(item: SeriesRow) -> Mapping[str, Any]:
    return {
        "row_key": item.key,
        "more_instances": item.more_instances,
        "new_revision": item.revision,
    }


def _new_study(item: StudyRow) -> Mapping[str, Any]:
    return {
        "study_instance_uid": item.uid,
        "modalities": to_text(sorted(item.modalities)),
        "series_count": item.more_series,
        "instance_count": item.more_instances,
        "revision": item.revision,
        **described(Level.STUDY, item.after),
    }


def _new_series(item: SeriesRow) -> Mapping[str, Any]:
    return {
        "study_key": item.study.key,
        "series_instance_uid": item.uid,
        "instance_count": item.more_instances,
        "revision": item.revision,
        "document_revision": None,
        "document_count": 0,
        **described(Level.SERIES, item.after),
    }


def _row(item: NewInstance, watermark: int, parent: SeriesRow) -> Mapping[str, Any]:
    file, attributes, head = item.file, item.attributes[Level.INSTANCE], item.file.head
    return {
        "watermark": watermark,
        "study_key": parent.study.key,
        "series_key": parent.key,
        "sop_instance_uid": item.path.instance,
        "blob_id": file.blob_id,
        "length": file.length,
        "sha256": file.sha256,
        "transfer_syntax_uid": file.transfer_syntax_uid,
        "pixel_data_offset": file.pixel_data_offset,
        "frames": file.frames,
        "head_id": None if head is None else head.blob_id,
        "head_length": None if head is None else head.length,
        "body_offset": None if head is None else head.body_offset,
        **described(Level.INSTANCE, attributes),
    }
