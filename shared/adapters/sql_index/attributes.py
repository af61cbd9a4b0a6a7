"""Study and series attributes: what the newest instance says, where it says anything."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import batched
from typing import Any

import orjson
from sqlalchemy import Connection, Table, bindparam, delete, exists, func, insert, select

from shared.adapters.sql_index.schema import instance, series_attributes, study_attributes
from shared.dicom.json_model import Document, Element

_ROWS_AT_ONCE = 500


def is_empty(element: Element) -> bool:
    """Whether an element has no value, or only empty ones."""
    if "InlineBinary" in element or "BulkDataURI" in element:
        return False
    return not any(_has_content(item) for item in element.get("Value", ()))


def _has_content(item: object) -> bool:
    if isinstance(item, dict):
        return any(item.values())
    return item is not None and item != ""


def overlay(older: Document, newer: Document) -> Document:
    """The attributes of both; of two values the newer one, but never an empty one over another."""
    merged = dict(older)
    for tag, element in newer.items():
        held = merged.get(tag)
        if held is None or not is_empty(element) or is_empty(held):
            merged[tag] = element
    return merged if merged.keys() == older.keys() else dict(sorted(merged.items()))


def fold(documents: Iterable[Document]) -> Document:
    """Overlay documents, oldest first."""
    folded: Document = {}
    for document in documents:
        folded = overlay(folded, document)
    return folded


def to_text(value: object) -> str:
    """JSON as the columns hold it."""
    return orjson.dumps(value).decode()


def digest(document: Document) -> str:
    """Name a document by its content, in 32 hexadecimal digits."""
    content = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return blake2b(content, digest_size=16).hexdigest()


class AttributeDocuments:
    """The distinct documents that the instances of each study, or each series, brought.

    The attributes of a study are the fold of its documents in the order of their newest use: the
    very same as replaying its instances in the order of storing, at the price of a few documents.
    """

    def __init__(self, table: Table, owner: str, link: str) -> None:
        self._table = table
        self._owner = owner
        self._link = link
        key, owner_key, used_by = table.c[link], table.c[owner], instance.c[link]
        self._held = select(owner_key, table.c.digest, key).where(
            owner_key.in_(bindparam("owners", expanding=True)),
            table.c.digest.in_(bindparam("digests", expanding=True)),
        )
        self._insert = insert(table).returning(key, sort_by_parameter_order=True)
        self._drop_unused = delete(table).where(
            owner_key == bindparam("owner"), ~exists().where(used_by == key)
        )
        newest_use = (
            select(func.max(instance.c.watermark))
            .where(used_by == key)
            .correlate(table)
            .scalar_subquery()
        )
        self._documents = (
            select(table.c.document).where(owner_key == bindparam("owner")).order_by(newest_use)
        )
        self._drop = delete(table).where(owner_key == bindparam("owner"))

    def keep(
        self, connection: Connection, brought: Mapping[tuple[int, str], Document]
    ) -> dict[tuple[int, str], int]:
        """Hold documents by (key of the owner, digest), and give the keys of their rows."""
        keys: dict[tuple[int, str], int] = {}
        for some in batched(brought, _ROWS_AT_ONCE, strict=False):
            owners = sorted({owner for owner, _ in some})
            digests = sorted({digest for _, digest in some})
            rows = connection.execute(self._held, {"owners": owners, "digests": digests})
            keys |= {(owner, digest): key for owner, digest, key in rows}
        missing = [item for item in brought if item not in keys]
        if missing:
            rows_to_add: list[dict[str, Any]] = [
                {self._owner: owner, "digest": digest, "document": to_text(brought[owner, digest])}
                for owner, digest in missing
            ]
            added = connection.execute(self._insert, rows_to_add).scalars()
            keys |= dict(zip(missing, added, strict=True))
        return keys

    def refold(self, connection: Connection, owner: int) -> Document:
        """Drop the documents that no instance uses any more, and fold the others."""
        connection.execute(self._drop_unused, {"owner": owner})
        documents = connection.execute(self._documents, {"owner": owner}).scalars()
        return fold(orjson.loads(document) for document in documents)

    def drop(self, connection: Connection, owners: Iterable[int]) -> None:
        """Drop all documents of studies or series without instances."""
        connection.execute(self._drop, [{"owner": owner} for owner in owners])


STUDY_DOCUMENTS = AttributeDocuments(study_attributes, "study_key", "study_attributes_key")
SERIES_DOCUMENTS = AttributeDocuments(series_attributes, "series_key", "series_attributes_key")
