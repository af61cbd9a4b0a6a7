"""Tell SQLite how selective each index is.

What ANALYZE would find in a middling archive, so that a query is planned the same way on the first
day and on the last, and none waits for statistics to be gathered.
"""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"

_STUDIES = 100_000
_SERIES = 300_000
_INSTANCES = 30_000_000

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
        "sop_class_uid": 2_000_000,
        "instance_number": 100_000,
    },
}
_ROWS = {"study": _STUDIES, "series": _SERIES, "instance": _INSTANCES}
_OTHERS = {
    ("study", "ix_study_partition"): (_STUDIES, _STUDIES),
    ("study", "ix_study_study_instance_uid"): (_STUDIES, _STUDIES, 1),
    ("series", "ix_series_partition"): (_SERIES, _SERIES),
    ("series", "ix_series_series_instance_uid"): (_SERIES, 3, 1),
    ("series", "ix_series_modality_in_study"): (_SERIES, _SERIES, 30_000, 2),
    ("instance", "ix_instance_partition"): (_INSTANCES, _INSTANCES),
    ("instance", "ix_instance_sop_instance_uid"): (_INSTANCES, 100, 1),
    ("instance", "ix_instance_blob_id"): (_INSTANCES, 1),
    ("instance", "ix_instance_study"): (_INSTANCES, 300),
    ("instance", "ix_instance_series"): (_INSTANCES, 100),
    ("instance", "ix_instance_study_attributes"): (_INSTANCES, 200),
    ("instance", "ix_instance_series_attributes"): (_INSTANCES, 80),
}


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    statistics = dict(_OTHERS)
    for table, columns in _IN_PARTITION.items():
        for column, same in columns.items():
            index = f"ix_{table}_{column}_in_partition"
            statistics[table, index] = (_ROWS[table], _ROWS[table], same)
    bind.execute(text("ANALYZE partition"))  # Makes the table that holds them.
    bind.execute(text("DELETE FROM sqlite_stat1"))
    bind.execute(
        text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:table, :index, :numbers)"),
        [
            {"table": table, "index": index, "numbers": " ".join(map(str, numbers))}
            for (table, index), numbers in statistics.items()
        ],
    )
