"""What each transaction takes and gives: the table behind the OpenAPI document and OPTIONS.

Keys are the names of functions, without the suffix of their form in a partition.

Standard: PS3.18 Table 10.3-1 (2025b).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from shared.dicomweb.media_type import (
    DICOM,
    DICOM_JSON,
    JSON,
    MULTIPART,
    OCTET_STREAM,
    YAML,
    ZIP,
)

_ANY_BODY = ("*/*",)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query string or, with `place` "header", of the headers.

    Attributes:
        schema: JSON schema of its value.
        since_version: The first API version that knows it.
    """

    name: str
    description: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})
    place: str = "query"
    since_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction on one resource.

    Attributes:
        takes: Media types of the request body.
        gives: Media types of each answer that is no error; empty for an answer without a body.
        errors: The errors it can have besides those that every transaction has.
        since_version: The first API version that serves it.
        not_in: Names of versions that do not serve it though they answer as ones that do.
    """

    summary: str
    gives: Mapping[HTTPStatus, tuple[str, ...]]
    takes: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[HTTPStatus, ...] = ()
    since_version: int = 1
    not_in: tuple[str, ...] = ()

    def is_served(self, version_name: str, version: int) -> bool:
        """Whether an API version of this name and these semantics has it."""
        return version >= self.since_version and version_name.lower() not in self.not_in


EVERY_ERROR = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""What any transaction may answer: a malformed path, an unknown version, a store that is away."""

_ACCEPT = Parameter(
    "accept", "Media types that the client takes; goes before the Accept header.", since_version=2
)
_PAGE = (
    Parameter("limit", "How many entries at most, up to 200."),
    Parameter("offset", "How many entries to leave out."),
)
_IF_NONE_MATCH = Parameter("If-None-Match", "An ETag that the client has.", place="header")
_ORIGINAL = Parameter(
    "msdicom-request-original",
    "Whether updated instances are given as they were stored.",
    {"type": "boolean", "default": False},
    place="header",
)
_RANGE = Parameter("Range", "Bytes of the value, as one range.", place="header")
_IF_RANGE = Parameter("If-Range", "The ETag that the range is of.", place="header")
_SHOWN = ("image/jpeg", "image/png", "image/gif", "application/pdf", "video/*")
_VIEWPORT = Parameter(
    "viewport",
    "Width and height in pixels, then the region of the image: vw,vh[,sx,sy,sw,sh].",
    since_version=2,
)
_RENDERING = (
    _ACCEPT,
    Parameter("quality", "Of JPEG.", {"type": "integer", "minimum": 1, "maximum": 100}),
    _VIEWPORT,
    Parameter(
        "window",
        "Center, width and one of linear, linear-exact and sigmoid.",
        since_version=2,
    ),
    Parameter(
        "iccprofile",
        "Whether the image has its colour profile, or that of sRGB.",
        {"type": "string", "enum": ["no", "yes", "srgb"]},
        since_version=2,
    ),
    Parameter("annotation", "Taken, and without effect: nothing is burned in.", since_version=2),
)
_SEARCH = (
    Parameter(
        "limit",
        "Most results; v1: 1 to 200.",
        {"type": "integer", "minimum": 1, "maximum": 200, "default": 100},
    ),
    Parameter("offset", "Results to leave out.", {"type": "integer", "minimum": 0, "default": 0}),
    Parameter(
        "fuzzymatching",
        "Whether words of person names are matched by their beginning.",
        {"type": "boolean", "default": False},
    ),
    Parameter(
        "multiplevaluematching",
        "Whether values are lists: all modalities of a study, or one of the values of others.",
        {"type": "boolean", "default": False},
        since_version=2,
    ),
    Parameter(
        "emptyvaluematching",
        "Whether two quotation marks match attributes without a value.",
        {"type": "boolean", "default": False},
        since_version=2,
    ),
    Parameter(
        "includefield",
        "Attributes that results have besides the default ones, by keyword or tag, or `all`.",
        {"type": "array", "items": {"type": "string"}},
    ),
    Parameter("PatientID", "As an example: any searchable attribute, by keyword or tag."),
    Parameter("StudyDate", "As an example of a range: yyyymmdd, or two with a dash between."),
    _ACCEPT,
)

_INCLUDE_METADATA = Parameter(
    "includeMetadata",
    "Whether entries have the metadata of the instance as it is now.",
    {"type": "boolean", "default": True},
)
_CHANGES = (
    Parameter(
        "limit",
        "Most entries; v1: 1 to 100, by default 10; v2: 1 to 200, by default 100.",
        {"type": "integer", "minimum": 1, "maximum": 200},
    ),
    Parameter(
        "offset",
        "v1: the sequence that entries come after; v2: entries to leave out.",
        {"type": "integer", "minimum": 0, "default": 0},
    ),
    Parameter(
        "startTime",
        "The first moment that entries come from, with its time zone.",
        {"type": "string", "format": "date-time"},
        since_version=2,
    ),
    Parameter(
        "endTime",
        "The moment that entries come before, with its time zone.",
        {"type": "string", "format": "date-time"},
        since_version=2,
    ),
    _INCLUDE_METADATA,
)


def _search(what: str) -> Transaction:
    return Transaction(
        summary=f"Search for {what}",
        parameters=_SEARCH,
        gives={HTTPStatus.OK: (DICOM_JSON, MULTIPART), HTTPStatus.NO_CONTENT: ()},
        errors=(HTTPStatus.NOT_ACCEPTABLE,),
    )


def _retrieve(what: str, *media_types: str, has_versions: bool = True) -> Transaction:
    return Transaction(
        summary=f"Retrieve {what}",
        parameters=(_ACCEPT, _ORIGINAL) if has_versions else (_ACCEPT,),
        gives={HTTPStatus.OK: media_types, HTTPStatus.PARTIAL_CONTENT: media_types},
        errors=(HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE),
    )


def _metadata(what: str) -> Transaction:
    return Transaction(
        summary=f"Retrieve the metadata of {what}",
        parameters=(_ACCEPT, _IF_NONE_MATCH, _ORIGINAL),
        gives={HTTPStatus.OK: (DICOM_JSON, MULTIPART), HTTPStatus.NOT_MODIFIED: ()},
        errors=(HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE),
    )


def _bulk_data(what: str) -> Transaction:
    return Transaction(
        summary=f"Retrieve the bulk data of {what}",
        parameters=(_ACCEPT,),
        gives={HTTPStatus.OK: (MULTIPART,)},
        errors=(HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE),
        since_version=2,
    )


def _rendered(what: str, *media_types: str, since_version: int = 2) -> Transaction:
    return Transaction(
        summary=f"Retrieve {what} rendered",
        parameters=_RENDERING,
        gives={HTTPStatus.OK: media_types},
        errors=(HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE),
        since_version=since_version,
    )


def _thumbnail(what: str) -> Transaction:
    return Transaction(
        summary=f"Retrieve a thumbnail of {what}",
        parameters=(_ACCEPT, _VIEWPORT, _IF_NONE_MATCH),
        gives={HTTPStatus.OK: ("image/jpeg",), HTTPStatus.NOT_MODIFIED: ()},
        errors=(HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE),
        since_version=2,
    )


def _store(where: str, since_version: int = 1) -> Transaction:
    report = (DICOM_JSON,)
    return Transaction(
        summary=f"Store instances {where}",
        since_version=since_version,
        takes=(MULTIPART, DICOM),
        parameters=(_ACCEPT,),
        gives={
            HTTPStatus.OK: report,
            HTTPStatus.ACCEPTED: report,
            HTTPStatus.NO_CONTENT: (),
            HTTPStatus.CONFLICT: report,
        },
        errors=(
            HTTPStatus.NOT_ACCEPTABLE,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ),
    )


def _of_fhir(
    summary: str,
    *,
    parameters: tuple[Parameter, ...] = (),
    errors: tuple[HTTPStatus, ...] = (),
) -> Transaction:
    return Transaction(
        summary=summary,
        parameters=parameters,
        gives={HTTPStatus.OK: (JSON,)},
        errors=(*errors, HTTPStatus.NOT_IMPLEMENTED),
        since_version=2,
    )


def _delete(what: str) -> Transaction:
    return Transaction(summary=f"Delete {what}", gives={HTTPStatus.NO_CONTENT: ()})


TRANSACTIONS: Mapping[str, Transaction] = {
    "store": _store("of any study"),
    "store_to_study": _store("of one study"),
    "store_or_replace": _store("of any study, also in the place of those that are there", 2),
    "store_or_replace_in_study": _store("of one study, also in the place of those there", 2),
    "search_studies": _search("studies"),
    "search_series": _search("series"),
    "search_instances": _search("instances"),
    "search_series_of_study": _search("the series of a study"),
    "search_instances_of_study": _search("the instances of a study"),
    "search_instances_of_series": _search("the instances of a series"),
    "retrieve_study": _retrieve("the instances of a study", MULTIPART, ZIP),
    "retrieve_series": _retrieve("the instances of a series", MULTIPART, ZIP),
    "retrieve_instance": _retrieve("an instance", DICOM, MULTIPART),
    "retrieve_frames": _retrieve(
        "frames of an instance", MULTIPART, OCTET_STREAM, *_ANY_BODY, has_versions=False
    ),
    "retrieve_metadata_of_study": _metadata("a study"),
    "retrieve_metadata_of_series": _metadata("a series"),
    "retrieve_metadata_of_instance": _metadata("an instance"),
    "retrieve_bulkdata_of_study": _bulk_data("a study"),
    "retrieve_bulkdata_of_series": _bulk_data("a series"),
    "retrieve_bulkdata_of_instance": _bulk_data("an instance"),
    "retrieve_bulkdata_value": Transaction(
        summary="Retrieve a bulk value, or a range of it",
        parameters=(_ACCEPT, _RANGE, _IF_RANGE),
        gives={
            HTTPStatus.OK: (OCTET_STREAM, MULTIPART, *_ANY_BODY),
            HTTPStatus.PARTIAL_CONTENT: (OCTET_STREAM,),
        },
        errors=(
            HTTPStatus.NOT_ACCEPTABLE,
            HTTPStatus.GONE,
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        ),
        since_version=2,
    ),
    "retrieve_rendered_study": _rendered("the instances of a study", MULTIPART),
    "retrieve_rendered_series": _rendered("the instances of a series", MULTIPART),
    "retrieve_rendered_instance": _rendered("an instance", *_SHOWN, MULTIPART, since_version=1),
    "retrieve_rendered_frames": _rendered("frames", *_SHOWN, MULTIPART, since_version=1),
    "retrieve_thumbnail_of_study": _thumbnail("a study"),
    "retrieve_thumbnail_of_series": _thumbnail("a series"),
    "retrieve_thumbnail_of_instance": _thumbnail("an instance"),
    "retrieve_thumbnail_of_frame": _thumbnail("a frame"),
    "delete_study": _delete("a study"),
    "delete_series": _delete("a series"),
    "delete_instance": _delete("an instance"),
    "restore_study": Transaction(
        summary="Bring back what was deleted of a study",
        parameters=(_ACCEPT,),
        gives={
            HTTPStatus.OK: (DICOM_JSON,),
            HTTPStatus.ACCEPTED: (DICOM_JSON,),
            HTTPStatus.CONFLICT: (DICOM_JSON,),
        },
        errors=(HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.CONFLICT, HTTPStatus.GONE),
        since_version=2,
    ),
    "fhir_export": Transaction(
        summary="Begin to tell the FHIR server of what is stored",
        takes=(JSON,),
        gives={HTTPStatus.ACCEPTED: (JSON,)},
        errors=(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.NOT_IMPLEMENTED,
        ),
        since_version=2,
    ),
    "fhir_resync": _of_fhir("Tell the FHIR server of a study now"),
    "fhir_status": _of_fhir("Say up to where the FHIR server has been told"),
    "list_fhir_dead_letters": _of_fhir(
        "List the studies that the FHIR server could not be told of", parameters=_PAGE
    ),
    "replay_fhir_dead_letter": _of_fhir("Try again to tell of a study"),
    "ignore_fhir_dead_letter": _of_fhir(
        "Try no more to tell of a study until it changes", errors=(HTTPStatus.CONFLICT,)
    ),
    "issue_upload": Transaction(
        summary="Let one new file be uploaded to the storage account",
        gives={HTTPStatus.CREATED: (JSON,)},
        errors=(HTTPStatus.NOT_IMPLEMENTED,),
        since_version=2,
    ),
    "retrieve_upload": Transaction(
        summary="Tell what became of an uploaded file",
        gives={HTTPStatus.OK: (JSON,)},
        since_version=2,
    ),
    "list_changes": Transaction(
        summary="List changes of all partitions",
        parameters=_CHANGES,
        gives={HTTPStatus.OK: (JSON,)},
    ),
    "latest_change": Transaction(
        summary="Give the latest change",
        parameters=(_INCLUDE_METADATA,),
        gives={HTTPStatus.OK: (JSON,), HTTPStatus.NO_CONTENT: ()},
    ),
    "list_partitions": Transaction(summary="List the partitions", gives={HTTPStatus.OK: (JSON,)}),
    "operation": Transaction(
        summary="Tell how far an operation is",
        gives={HTTPStatus.OK: (JSON,), HTTPStatus.ACCEPTED: (JSON,)},
    ),
    "export": Transaction(
        summary="Begin to export instances",
        takes=(JSON,),
        gives={HTTPStatus.ACCEPTED: (JSON,)},
        errors=(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        not_in=("v1.0-prerelease",),
    ),
    "list_operations": Transaction(
        summary="List the operations, newest first",
        parameters=_PAGE,
        gives={HTTPStatus.OK: (JSON,)},
        since_version=2,
    ),
    "cancel_operation": Transaction(
        summary="End an operation where it stands",
        gives={HTTPStatus.OK: (JSON,)},
        errors=(HTTPStatus.CONFLICT,),
        since_version=2,
    ),
    "add_extended_query_tags": Transaction(
        summary="Add extended query tags, and begin to index by them",
        takes=(JSON,),
        gives={HTTPStatus.ACCEPTED: (JSON,)},
        errors=(
            HTTPStatus.CONFLICT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ),
    ),
    "list_extended_query_tags": Transaction(
        summary="List the extended query tags, oldest first",
        parameters=_PAGE,
        gives={HTTPStatus.OK: (JSON,)},
    ),
    "retrieve_extended_query_tag": Transaction(
        summary="Tell what an extended query tag is like", gives={HTTPStatus.OK: (JSON,)}
    ),
    "update_extended_query_tag": Transaction(
        summary="Let an extended query tag be searched by, or not",
        takes=(JSON,),
        gives={HTTPStatus.OK: (JSON,)},
        errors=(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    ),
    "delete_extended_query_tag": Transaction(
        summary="Delete an extended query tag and what is indexed by it",
        gives={HTTPStatus.NO_CONTENT: ()},
    ),
    "list_extended_query_tag_errors": Transaction(
        summary="List what could not be indexed by an extended query tag",
        parameters=_PAGE,
        gives={HTTPStatus.OK: (JSON,)},
    ),
    "bulk_update": Transaction(
        summary="Begin to update attributes of studies",
        takes=(JSON,),
        gives={HTTPStatus.ACCEPTED: (JSON,)},
        errors=(
            HTTPStatus.CONFLICT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ),
        since_version=2,
    ),
    "describe_as_json": Transaction(summary="Describe this API", gives={HTTPStatus.OK: (JSON,)}),
    "describe_as_yaml": Transaction(summary="Describe this API", gives={HTTPStatus.OK: (YAML,)}),
}
