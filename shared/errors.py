"""The one exception hierarchy of the service; it has never heard of HTTP.

Each error carries one sentence that a client may read: never attribute values, paths or a stack.
"""


class DicomWebError(Exception):
    """Something the service refuses or cannot do, with one sentence for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequestError(DicomWebError):
    """The request itself is wrong."""


class InvalidUidError(InvalidRequestError):
    """Text that should be a UID is not one (PS3.5 9.1, 2025b)."""


class InvalidQueryError(InvalidRequestError):
    """A search parameter is unknown, malformed or not allowed at this level."""


class MalformedMultipartError(InvalidRequestError):
    """A multipart/related body breaks RFC 2046 or one of our limits on its framing."""


class InvalidBlobNameError(InvalidRequestError):
    """A name is not one of a blob, or leads out of the place where it is looked for."""


class InvalidFrameListError(InvalidRequestError):
    """A list of frame numbers is not made of distinct integers from 1."""


class DestinationRefusedError(InvalidRequestError):
    """The destination of an export does not let the app write there."""


class UnsupportedVersionError(InvalidRequestError):
    """The version segment is well formed but names no version that is served."""


class NotAuthenticatedError(DicomWebError):
    """It is not known who sends the request; `challenge` says how to tell (RFC 9110 11.6.1)."""

    def __init__(self, message: str, challenge: str = "Bearer") -> None:
        super().__init__(message)
        self.challenge = challenge


class NotPermittedError(DicomWebError):
    """The caller is known, and may not do this."""


class InvalidInstanceError(DicomWebError):
    """Bytes that should be a DICOM Part 10 file are not one, or break one of our bounds."""


class NotFoundError(DicomWebError):
    """No such study, series, instance or frame."""


class GoneError(NotFoundError):
    """The study, series or instance was here, and has been deleted."""


class RangeNotSatisfiableError(DicomWebError):
    """A byte range lies outside the value; `length` is that of the value in bytes."""

    def __init__(self, message: str, length: int | None = None) -> None:
        super().__init__(message)
        self.length = length


class NotAcceptableError(DicomWebError):
    """Nothing that the client accepts can be given."""


class ConflictError(DicomWebError):
    """The state of the archive does not allow this now; `location` is of what stands in the way."""

    def __init__(self, message: str, location: str | None = None) -> None:
        super().__init__(message)
        self.location = location


class TagLimitError(ConflictError):
    """There would be more extended query tags than are allowed."""


class TagSetChangedError(DicomWebError):
    """Instances were read for another set of extended query tags than there is now."""

    def __init__(self) -> None:
        super().__init__("The set of extended query tags has changed.")


class PayloadTooLargeError(DicomWebError):
    """A body, part or result is over a configured limit."""


class UnsupportedMediaTypeError(DicomWebError):
    """The request body is of a type that this resource does not take."""


class NotSupportedError(DicomWebError):
    """This deployment cannot do it; the sentence names what to use instead."""


class StoreUnavailableError(DicomWebError):
    """Blob storage or the index does not answer now; trying again later is right."""


class InboxFileError(DicomWebError):
    """A file of the inbox cannot be read, moved or removed, which says nothing of the others."""


class BlobExistsError(DicomWebError):
    """A blob of this name exists already: blobs are only ever created."""


class BlobNotFoundError(DicomWebError):
    """No blob of this name exists."""


class FhirAccessError(DicomWebError):
    """The FHIR server does not let the app in, or is none that the app can use."""


class FhirConflictError(DicomWebError):
    """A resource of the FHIR server is not as it was when it was read."""


class FhirRefusedError(DicomWebError):
    """The FHIR server refuses what it was sent.

    Attributes:
        status: HTTP status of its answer.
        issues: Codes and expressions of its OperationOutcome, never its words.
    """

    def __init__(self, message: str, status: int, issues: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.issues = issues


class FhirMappingError(DicomWebError):
    """A study cannot be said in FHIR."""


class AmbiguousIdentityError(DicomWebError):
    """Which resource of the FHIR server is meant cannot be said."""
