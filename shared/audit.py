"""Audit records: one line of JSON each, of the logger `audit`.

Hosts pass on the text of a log and nothing beside it. These records alone name UIDs, as DICOM's own
audit messages do (PS3.15 A.5.3, 2025b).
"""

import logging
from collections.abc import Mapping

import orjson

_audit = logging.getLogger("audit")


def write_record(record: Mapping[str, object]) -> None:
    """Write a record, unless the level of the logger says that none are wanted."""
    if _audit.isEnabledFor(logging.INFO):
        line = orjson.dumps(record).decode()
        # As Logger.info does, but for the search of the line of code that calls it.
        _audit.handle(logging.LogRecord(_audit.name, logging.INFO, "", 0, line, None, None))
