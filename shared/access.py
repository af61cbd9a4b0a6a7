"""Who may do what: data actions, and the roles of Microsoft Entra ID that grant them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class DataAction(Enum):
    """What a route demands of its caller; `ANONYMOUS` demands nothing."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    MANAGE_EXTENDED_QUERY_TAGS = "manageExtendedQueryTags"
    EXPORT = "export"
    ADMINISTER = "administer"
    ANONYMOUS = "anonymous"


ALL_ACTIONS = frozenset(DataAction) - {DataAction.ANONYMOUS}

ROLES: Mapping[str, frozenset[DataAction]] = {
    "Dicom.Read": frozenset({DataAction.READ}),
    "Dicom.ReadWrite": frozenset({DataAction.READ, DataAction.WRITE}),
    "Dicom.Delete": frozenset({DataAction.DELETE}),
    "Dicom.ManageExtendedQueryTags": frozenset({DataAction.MANAGE_EXTENDED_QUERY_TAGS}),
    "Dicom.Export": frozenset({DataAction.EXPORT}),
    "Dicom.Administer": ALL_ACTIONS,
    # The two roles that the reference comes with.
    "globalReader": frozenset({DataAction.READ}),
    "globalAdmin": ALL_ACTIONS,
}
"""What each app role grants, and each delegated scope of the same name lets a client pass on."""


def granted_by(names: Iterable[str]) -> frozenset[DataAction]:
    """The actions of roles or scopes together; unknown names grant nothing."""
    return frozenset(action for name in names for action in ROLES.get(name, ()))


class CallerKind(Enum):
    """Whether a person is behind a request, an application by itself, or nobody known."""

    USER = "user"
    APPLICATION = "application"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request.

    Attributes:
        object_id: Of the user or service principal in the tenant; empty for an unknown one.
        client_id: Of the application that sends the request, likewise.
        actions: What the caller may do.
    """

    kind: CallerKind
    object_id: str = ""
    client_id: str = ""
    actions: frozenset[DataAction] = frozenset()


ANYBODY = Principal(CallerKind.UNKNOWN)
"""A caller whose name nobody asks for."""

TRUSTED = Principal(CallerKind.UNKNOWN, actions=ALL_ACTIONS)
"""A caller where authentication is off."""
