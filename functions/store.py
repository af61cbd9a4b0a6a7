"""Store: POST of instances to the archive or to one study (PS3.18 10.5, 2025b)."""

from collections.abc import Sequence
from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import Request, Response, transaction
from functions.observation import tell_studies
from shared.access import DataAction
from shared.dicom.json_model import dumps
from shared.dicom.uid import parse_uid
from shared.dicomweb.media_type import DICOM_JSON, accept_dicom_json
from shared.dicomweb.store_report import Stored, StoreReport, StoreResult
from shared.dicomweb.store_request import instance_bodies
from shared.dicomweb.warning import warning_header
from shared.wiring import Services

blueprint = func.Blueprint()

_STATUS = {
    StoreResult.STORED: HTTPStatus.OK,
    StoreResult.STORED_IN_PART: HTTPStatus.ACCEPTED,
    StoreResult.NOTHING_SENT: HTTPStatus.NO_CONTENT,
    StoreResult.REFUSED: HTTPStatus.CONFLICT,
}
"""PS3.18 Table 10.5.3-1 (2025b)."""


@transaction(
    blueprint, "store", "studies", HTTPMethod.POST, DataAction.WRITE, creates_partition=True
)
async def store(request: Request, services: Services) -> Response:
    """Store instances of any study: POST /studies."""
    return await _store(request, services)


@transaction(
    blueprint,
    "store_to_study",
    "studies/{study}",
    HTTPMethod.POST,
    DataAction.WRITE,
    creates_partition=True,
)
async def store_to_study(request: Request, services: Services) -> Response:
    """Store instances of one study: POST /studies/{study}."""
    return await _store(request, services)


@transaction(
    blueprint,
    "store_or_replace",
    "studies",
    HTTPMethod.PUT,
    DataAction.WRITE,
    creates_partition=True,
)
async def store_or_replace(request: Request, services: Services) -> Response:
    """Store instances of any study, replacing those that are stored: PUT /studies; v2, ours."""
    return await _store(request, services, replaces=True)


@transaction(
    blueprint,
    "store_or_replace_in_study",
    "studies/{study}",
    HTTPMethod.PUT,
    DataAction.WRITE,
    creates_partition=True,
)
async def store_or_replace_in_study(request: Request, services: Services) -> Response:
    """Store instances of one study, replacing those that are stored: PUT /studies/{study}."""
    return await _store(request, services, replaces=True)


async def _store(request: Request, services: Services, *, replaces: bool = False) -> Response:
    accept_dicom_json(request.accept, version=request.version, preferred=request.preferred)
    study = parse_uid(request.path["study"]) if "study" in request.path else None
    bodies = instance_bodies(
        request.headers,
        request.body,
        services.store_limits,
        version=request.version,
    )
    report = await services.store.store(
        request.partition,
        bodies,
        version=request.version,
        study=study,
        replaces=replaces,
        on_stored=_tell,
    )
    return told(request, report)


def _tell(instances: Sequence[Stored]) -> None:
    tell_studies(stored.path.study for stored in instances)


def told(request: Request, report: StoreReport) -> Response:
    """The answer that tells what became of each instance."""
    result = report.result(request.version)
    if result is StoreResult.NOTHING_SENT:
        return Response(status=_STATUS[result])
    document = report.document(request.version, request.base_url)
    warning = warning_header(report.sentences, request.headers.get("host", ""))
    return Response(
        status=_STATUS[result], media_type=DICOM_JSON, body=dumps(document), headers=warning
    )
