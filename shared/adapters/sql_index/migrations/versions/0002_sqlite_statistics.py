"""Tell SQLite how selective each index is.

What ANALYZE would find in a middling archive, so that a query is planned the same way on the first
day and on the last, and none waits for statistics to be gathered.
"""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"

# The same for studies, series and instances: as soon as one table is told to be bigger, SQLite
# reads the other one whole into a Bloom filter, for a search that ends after a page of results.
_ROWS = 300_000

# Rows that share a value, in a partition that holds everything.
_IN_PARTITION = {
    "study": {
        "patient_name": 4,
        "patient_id": 4,
        "patient_birth_date": 20,
        "patient_sex": 40_000,
        "accession_number": 2,
        "referring_physician_name": 200,
        "study_date": 100,
        "study_time": 3,
        "study_id": 3,
        "study_description": 500,
    },
    "series": {
        "series_instance_uid": 1,
        "modality": 30_000,
        "series_number": 20_000,
        "series_description": 1000,
        "performed_procedure_step_start_date": 300,
        "performed_procedure_step_start_time": 4,
        "manufacturer_model_name": 3000,
        "scheduled_procedure_step_id": 5,
        "requested_procedure_id": 5,
    },
    "instance": {
        "sop_instance_uid": 1,
        "sop_class_uid": 100_000,
        "instance_number": 50_000,
    },
}
_OTHERS = {
    ("study", "ix_study_partition"): (_ROWS, _ROWS),
    ("study", "ix_study_study_instance_uid"): (_ROWS, _ROWS, 1),
    ("series", "ix_series_partition"): (_ROWS, _ROWS),
    ("series", "ix_series_series_instance_uid"): (_ROWS, 3, 1),
    ("series", "ix_series_modality_in_study"): (_ROWS, _ROWS, 30_000, 2),
    ("instance", "ix_instance_partition"): (_ROWS, _ROWS),
    ("instance", "ix_instance_sop_instance_uid"): (_ROWS, 100, 1),
    ("instance", "ix_instance_blob_id"): (_ROWS, 1),
    ("instance", "ix_instance_study"): (_ROWS, 300),
    ("instance", "ix_instance_series"): (_ROWS, 100),
    ("instance", "ix_instance_study_attributes"): (_ROWS, 200),
    ("instance", "ix_instance_series_attributes"): (_ROWS, 80),
}


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    statistics = dict(_OTHERS)
    for table, columns in _IN_PARTITION.items():
        for column, same in columns.items():
            index = f"ix_{table}_{column}_in_partition"
            statistics[table, index] = (_ROWS, _ROWS, same)
    bind.execute(text("ANALYZE partition"))  # Makes the table that holds them.
    bind.execute(text("DELETE FROM sqlite_stat1"))
    bind.execute(
        text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:table, :index, :numbers)"),
        [
            {"table": table, "index": index, "numbers": " ".join(map(str, numbers))}
            for (table, index), numbers in statistics.items()
        ],
    )
