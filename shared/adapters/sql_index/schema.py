"""The tables of the index.

    partition 1-* study 1-* series 1-* instance       what is stored now
    study_attributes, series_attributes               each distinct set of attributes that instances
                                                      brought to their study or series, once
    request_item                                      items of a series' RequestAttributesSequence
    person_name_word                                  words of names, for fuzzy matching
    change                                            what happened, never changed once numbered
    deleted_blob                                      blobs that wait for their removal
    tag_set                                           version of the set of extended query tags
    extended_query_tag 1-* extended_query_tag_error   tags, and what is wrong with instances' values
    tag_value_...                                     values that instances have of tags
    reindexing                                        how far the values of new tags are found
    state_row                                         small rows of the other port, StateTable

Keys are never used again. An instance's key is its watermark: the `change_id` of the change row
that put it there, so the order of keys is the order of storing, everywhere.

A searchable column holds the folded first value of its attribute; every one has an index that is
led by the partition and ends, as all indexes do, in the key of the row, which is the order of
results. The `attributes` columns hold what a search returns, as DICOM JSON.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    TypeDecorator,
    Unicode,
    UnicodeText,
    literal_column,
)
from sqlalchemy.dialects.mssql import DATETIME2
from sqlalchemy.types import TypeEngine

REVISION = "0009"
"""The migration that this code is written for."""

MAX_TEXT = 200
"""Characters of a searchable value that are compared."""

MAX_WORD = 64
"""Characters of a word of a name that are compared."""

_BINARY = "Latin1_General_100_BIN2"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, to the microsecond; databases keep it without its zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:  # noqa: ANN401, D102
        if dialect.name == "mssql":
            return dialect.type_descriptor(DATETIME2(6))  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, D102
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, D102
        return None if value is None else value.replace(tzinfo=UTC)


def _ascii(length: int) -> String:
    """Text that is compared byte for byte on every database."""
    return String(length).with_variant(String(length, _BINARY), "mssql")


def _folded(length: int = MAX_TEXT) -> Unicode:
    """Folded text of any script, compared without regard to languages on every database.

    SQLite compares code points, SQL Server the units of UTF-16: characters beyond the first 65536
    come before U+E000 there, and each is two to `_` in LIKE. SQL Server also takes no notice of
    blanks at the end, except in LIKE, so what goes on in a control character comes before what
    ends; folded values end in no blanks, unless they were cut there.
    """
    return Unicode(length).with_variant(Unicode(length, _BINARY), "mssql")


_KEY = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only as INTEGER.
_DATE = _ascii(8)  # yyyymmdd
_TIME = _ascii(13)  # hhmmss.ffffff

metadata = MetaData()


def _key_column(name: str) -> Column[int]:
    return Column(name, _KEY, primary_key=True, autoincrement=True)


def _reference(target: str) -> Column[int]:
    return Column(target.split(".")[1], _KEY, ForeignKey(target), nullable=False)


def _unique(table: Table, *columns: str) -> None:
    Index(f"ix_{table.name}_{columns[-1]}", *(table.c[column] for column in columns), unique=True)


def _search_indexes(table: Table, *columns: str) -> None:
    for column in columns:
        name = f"ix_{table.name}_{column}_in_partition"
        Index(name, table.c.partition_key, table.c[column])


partition = Table(
    "partition",
    metadata,
    _key_column("partition_key"),
    Column("name", _ascii(64), nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

study = Table(
    "study",
    metadata,
    _key_column("study_key"),
    _reference("partition.partition_key"),
    Column("study_instance_uid", _ascii(64), nullable=False),
    Column("attributes", UnicodeText, nullable=False),
    Column("modalities", UnicodeText, nullable=False),  # distinct ones, a JSON array
    Column("series_count", Integer, nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),  # change_id of its newest change
    Column("patient_name", _folded()),
    Column("patient_id", _folded()),
    Column("patient_birth_date", _DATE),
    Column("patient_sex", _folded()),
    Column("accession_number", _folded()),
    Column("referring_physician_name", _folded()),
    Column("study_date", _DATE),
    Column("study_time", _TIME),
    Column("study_id", _folded()),
    Column("study_description", _folded()),
    sqlite_autoincrement=True,
)
_unique(study, "partition_key", "study_instance_uid")
Index("ix_study_partition", study.c.partition_key)
_search_indexes(
    study,
    "patient_name",
    "patient_id",
    "patient_birth_date",
    "patient_sex",
    "accession_number",
    "referring_physician_name",
    "study_date",
    "study_time",
    "study_id",
    "study_description",
)

series = Table(
    "series",
    metadata,
    _key_column("series_key"),
    _reference("partition.partition_key"),
    _reference("study.study_key"),
    Column("series_instance_uid", _ascii(64), nullable=False),
    Column("attributes", UnicodeText, nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("document_revision", BigInteger),  # of the newest series document
    Column("document_count", Integer, nullable=False),  # instances in that document
    Column("modality", _folded()),
    Column("series_number", BigInteger),
    Column("series_description", _folded()),
    Column("performed_procedure_step_start_date", _DATE),
    Column("performed_procedure_step_start_time", _TIME),
    Column("manufacturer_model_name", _folded()),
    sqlite_autoincrement=True,
)
_unique(series, "study_key", "series_instance_uid")
Index("ix_series_partition", series.c.partition_key)
Index("ix_series_modality_in_study", series.c.partition_key, series.c.modality, series.c.study_key)
_search_indexes(
    series,
    "series_instance_uid",
    "modality",
    "series_number",
    "series_description",
    "performed_procedure_step_start_date",
    "performed_procedure_step_start_time",
    "manufacturer_model_name",
)

request_item = Table(
    "request_item",
    metadata,
    Column("series_key", _KEY, ForeignKey("series.series_key"), primary_key=True),
    Column("item", Integer, primary_key=True, autoincrement=False),  # from 0
    _reference("partition.partition_key"),
    Column("scheduled_procedure_step_id", _folded()),
    Column("requested_procedure_id", _folded()),
    sqlite_with_rowid=False,
)
_search_indexes(request_item, "scheduled_procedure_step_id", "requested_procedure_id")


def _attribute_documents(owner: str) -> Table:
    """The distinct attribute documents of a study or series, as its instances brought them."""
    table = Table(
        f"{owner}_attributes",
        metadata,
        _key_column(f"{owner}_attributes_key"),
        _reference(f"{owner}.{owner}_key"),
        Column("digest", _ascii(32), nullable=False),
        Column("document", UnicodeText, nullable=False),
        sqlite_autoincrement=True,
    )
    _unique(table, f"{owner}_key", "digest")
    return table


study_attributes = _attribute_documents("study")
series_attributes = _attribute_documents("series")

instance = Table(
    "instance",
    metadata,
    Column("watermark", _KEY, primary_key=True, autoincrement=False),
    _reference("partition.partition_key"),
    _reference("study.study_key"),
    _reference("series.series_key"),
    _reference("study_attributes.study_attributes_key"),
    _reference("series_attributes.series_attributes_key"),
    Column("sop_instance_uid", _ascii(64), nullable=False),
    Column("blob_id", _ascii(32), nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("sha256", _ascii(64), nullable=False),
    Column("transfer_syntax_uid", _ascii(64), nullable=False),
    Column("pixel_data_offset", BigInteger),
    Column("frames", UnicodeText),
    # Of an updated instance: what it begins with instead of the first bytes of its file.
    Column("head_id", _ascii(32)),
    Column("head_length", BigInteger),
    Column("body_offset", BigInteger),
    Column("attributes", UnicodeText, nullable=False),
    Column("sop_class_uid", _ascii(64)),
    Column("instance_number", BigInteger),
)
_unique(instance, "blob_id")
Index(
    "ix_instance_head_id",
    instance.c.head_id,
    unique=True,
    sqlite_where=instance.c.head_id.is_not(None),
    mssql_where=instance.c.head_id.is_not(None),
)
_unique(instance, "series_key", "sop_instance_uid")
Index("ix_instance_partition", instance.c.partition_key)
Index("ix_instance_study", instance.c.study_key)
Index("ix_instance_series", instance.c.series_key)
Index("ix_instance_study_attributes", instance.c.study_attributes_key)
Index("ix_instance_series_attributes", instance.c.series_attributes_key)
_search_indexes(instance, "sop_instance_uid", "sop_class_uid", "instance_number")

person_name_word = Table(
    "person_name_word",
    metadata,
    Column("partition_key", _KEY, primary_key=True),
    Column("attribute", _ascii(8), primary_key=True),  # tag
    Column("word", _folded(MAX_WORD), primary_key=True),
    Column("study_key", _KEY, ForeignKey("study.study_key"), primary_key=True),
    sqlite_with_rowid=False,
)
Index("ix_person_name_word_study", person_name_word.c.study_key)

change = Table(
    "change",
    metadata,
    _key_column("change_id"),
    _reference("partition.partition_key"),
    Column("study_instance_uid", _ascii(64), nullable=False),
    Column("series_instance_uid", _ascii(64), nullable=False),
    Column("sop_instance_uid", _ascii(64), nullable=False),
    Column("action", SmallInteger, nullable=False),
    # Given once the row is committed, in the order of change_id.
    Column("sequence", BigInteger),
    Column("timestamp", UtcDateTime),
    sqlite_autoincrement=True,
)
Index(
    "ix_change_sequence",
    change.c.sequence,
    unique=True,
    sqlite_where=change.c.sequence.is_not(None),
    mssql_where=change.c.sequence.is_not(None),
)
Index(
    "ix_change_timestamp",
    change.c.timestamp,
    change.c.sequence,
    sqlite_where=change.c.sequence.is_not(None),
    mssql_where=change.c.sequence.is_not(None),
)
Index(
    "ix_change_unnumbered",
    change.c.change_id,
    sqlite_where=change.c.sequence.is_(None),
    mssql_where=change.c.sequence.is_(None),
    mssql_include=[change.c.sequence],  # Else SQL Server looks it up, to see that it is NULL.
)
# What is gone is told from what never was; storing does not pay for it.
_OF_DELETION = change.c.action == literal_column("1")
Index(
    "ix_change_deleted",
    change.c.partition_key,
    change.c.study_instance_uid,
    change.c.series_instance_uid,
    change.c.sop_instance_uid,
    sqlite_where=_OF_DELETION,
    mssql_where=_OF_DELETION,
)

deleted_blob = Table(
    "deleted_blob",
    metadata,
    _key_column("deleted_blob_key"),
    Column("blob_id", _ascii(32)),  # of an instance's blobs; a series document has none
    Column("head_id", _ascii(32)),  # likewise, of an updated instance that was deleted
    Column("names", UnicodeText, nullable=False),  # a JSON array
    Column("until", UtcDateTime, nullable=False),
    # Of the deletion that put them here, until their removal begins: only that can be undone.
    Column("change_id", BigInteger),
    sqlite_autoincrement=True,
)
Index("ix_deleted_blob_blob_id", deleted_blob.c.blob_id)
Index("ix_deleted_blob_until", deleted_blob.c.until)
for _column in (deleted_blob.c.head_id, deleted_blob.c.change_id):
    Index(
        f"ix_deleted_blob_{_column.name}",
        _column,
        unique=True,
        sqlite_where=_column.is_not(None),
        mssql_where=_column.is_not(None),
    )

tag_set = Table(
    "tag_set",
    metadata,
    Column("tag_set_key", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("version", Integer, nullable=False),
)

extended_query_tag = Table(
    "extended_query_tag",
    metadata,
    _key_column("tag_key"),
    Column("path", _ascii(8), nullable=False, unique=True),  # tag
    Column("vr", _ascii(2), nullable=False),
    Column("private_creator", _folded(64)),
    Column("level", SmallInteger, nullable=False),
    Column("status", _ascii(8), nullable=False),
    Column("query_status", _ascii(8), nullable=False),
    Column("operation_id", _ascii(32)),  # of the re-index that it waits for
    sqlite_autoincrement=True,
)

extended_query_tag_error = Table(
    "extended_query_tag_error",
    metadata,
    Column("tag_key", _KEY, ForeignKey("extended_query_tag.tag_key"), primary_key=True),
    Column("watermark", _KEY, primary_key=True, autoincrement=False),
    Column("created", UtcDateTime, nullable=False),
    Column("message", _ascii(200), nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_extended_query_tag_error_watermark", extended_query_tag_error.c.watermark)


def _tag_values(kind: str, value: TypeEngine[Any], *, has_many: bool = False) -> Table:
    """The values that instances have of the tags of one kind.

    The owner is the study, series or instance, by the level of the tag, whose value it is if the
    instance is the newest of the owner that has one.
    """
    table = Table(
        f"tag_value_{kind}",
        metadata,
        Column("watermark", _KEY, primary_key=True, autoincrement=False),
        Column("tag_key", _KEY, ForeignKey("extended_query_tag.tag_key"), primary_key=True),
        Column("value", value, nullable=False, primary_key=has_many),
        _reference("partition.partition_key"),
        Column("owner_key", _KEY, nullable=False),
        Column("is_newest", SmallInteger, nullable=False),  # 1 or 0
        sqlite_with_rowid=False,
    )
    of_owners = table.c.is_newest == literal_column("1")
    Index(
        f"ix_tag_value_{kind}_value",
        table.c.tag_key,
        table.c.partition_key,
        table.c.value,
        table.c.owner_key,
        sqlite_where=of_owners,
        mssql_where=of_owners,
    )
    Index(f"ix_tag_value_{kind}_owner", table.c.tag_key, table.c.owner_key, table.c.watermark)
    return table


tag_value_string = _tag_values("string", _folded())
tag_value_integer = _tag_values("integer", BigInteger())
tag_value_real = _tag_values("real", Double())
tag_value_datetime = _tag_values("datetime", _ascii(21))  # yyyymmdd, hhmmss.ffffff or both
tag_value_person_name = _tag_values("person_name", _folded())
tag_value_word = _tag_values("word", _folded(MAX_WORD), has_many=True)  # of person names

reindexing = Table(
    "reindexing",
    metadata,
    Column("operation_id", _ascii(32), primary_key=True),
    # Of the instances up to the highest watermark, those from the lowest one on are done.
    Column("highest", BigInteger, nullable=False),
    Column("lowest", BigInteger, nullable=False),
)

state_row = Table(
    "state_row",
    metadata,
    Column("table_name", _ascii(64), primary_key=True),
    Column("partition", _folded(), primary_key=True),
    Column("row_key", _folded(), primary_key=True),
    Column("version", _ascii(32), nullable=False),
    Column("row_values", UnicodeText, nullable=False),  # a JSON object
    sqlite_with_rowid=False,
)

operation = Table(
    "operation",
    metadata,
    Column("operation_id", _ascii(32), primary_key=True),
    Column("type", _ascii(16), nullable=False),
    Column("status", _ascii(16), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("last_updated", UtcDateTime, nullable=False),
    Column("percent_complete", Integer),
    Column("input", UnicodeText, nullable=False),  # a JSON object
    Column("results", UnicodeText),  # a JSON object
)
Index("ix_operation_status", operation.c.status, operation.c.created)
Index("ix_operation_created", operation.c.created)
