"""The first schema."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Unicode,
    UnicodeText,
    func,
    insert,
)
from sqlalchemy.dialects.mssql import DATETIME2

revision = "0001"
down_revision = None

_BINARY = "Latin1_General_100_BIN2"


def _ascii(length: int) -> String:
    """Text that is compared byte for byte on every database."""
    return String(length).with_variant(String(length, _BINARY), "mssql")


def _folded(length: int = 200) -> Unicode:
    """Folded text of any script, compared code point by code point on every database."""
    return Unicode(length).with_variant(Unicode(length, _BINARY), "mssql")


_DATE_TIME = DateTime().with_variant(DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]
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
    Column("created", _DATE_TIME, nullable=False),
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
    Column("changed_at", _DATE_TIME, nullable=False),
    Column("document_revision", BigInteger),  # of the newest series document
    Column("document_count", Integer, nullable=False),  # instances in that document
    Column("modality", _folded()),
    Column("series_number", BigInteger),
    Column("series_description", _folded()),
    Column("performed_procedure_step_start_date", _DATE),
    Column("performed_procedure_step_start_time", _TIME),
    Column("manufacturer_model_name", _folded()),
    Column("scheduled_procedure_step_id", _folded()),
    Column("requested_procedure_id", _folded()),
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
    "scheduled_procedure_step_id",
    "requested_procedure_id",
)


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
    Column("attributes", UnicodeText, nullable=False),
    Column("sop_class_uid", _ascii(64)),
    Column("instance_number", BigInteger),
)
_unique(instance, "blob_id")
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
    Column("word", _folded(64), primary_key=True),
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
    Column("timestamp", _DATE_TIME),
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
    "ix_change_unnumbered",
    change.c.change_id,
    sqlite_where=change.c.sequence.is_(None),
    mssql_where=change.c.sequence.is_(None),
    mssql_include=[change.c.sequence],
)

deleted_blob = Table(
    "deleted_blob",
    metadata,
    _key_column("deleted_blob_key"),
    Column("blob_id", _ascii(32)),  # of an instance's blobs; a series document has none
    Column("names", UnicodeText, nullable=False),  # a JSON array
    Column("until", _DATE_TIME, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_deleted_blob_blob_id", deleted_blob.c.blob_id)
Index("ix_deleted_blob_until", deleted_blob.c.until)

tag_set = Table(
    "tag_set",
    metadata,
    Column("tag_set_key", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("version", Integer, nullable=False),
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


def upgrade() -> None:
    bind = op.get_bind()
    metadata.create_all(bind)
    default = insert(partition).values(name="Microsoft.Default", created=func.current_timestamp())
    bind.execute(default)
    bind.execute(insert(tag_set).values(tag_set_key=1, version=0))
