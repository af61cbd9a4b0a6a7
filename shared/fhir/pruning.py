"""Empty values, which FHIR forbids (FHIR R4, 2.6.2)."""

from typing import Any


def prune(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The same without what is empty, at any depth; None where nothing is left."""
    if isinstance(value, dict):
        kept = {name: left for name, item in value.items() if (left := prune(item)) is not None}
        return kept or None
    if isinstance(value, list | tuple):
        return [left for item in value if (left := prune(item)) is not None] or None
    return None if value == "" else value
