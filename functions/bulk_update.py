"""Bulk update: new values for attributes of whole studies (reference; not in the Standard)."""

from http import HTTPMethod, HTTPStatus

import azure.durable_functions as df
import orjson

from functions.endpoint import Request, Response, json_body, transaction
from functions.observation import tell_studies
from functions.operations import operation_url
from shared.access import DataAction
from shared.dicom.json_model import dumps
from shared.dicomweb.media_type import DICOM_JSON, JSON
from shared.dicomweb.update_request import parse_update, refusal
from shared.wiring import Services

blueprint = df.Blueprint()


@transaction(
    blueprint,
    "bulk_update",
    "studies/$bulkUpdate",
    HTTPMethod.POST,
    DataAction.WRITE,
    orchestrates=True,
)
async def bulk_update(request: Request, services: Services) -> Response:
    """Begin to update studies: POST /studies/$bulkUpdate; v2. Its answer has no Location."""
    asked = parse_update(await json_body(request))
    if asked.problems:
        return Response(
            status=HTTPStatus.BAD_REQUEST,
            media_type=DICOM_JSON,
            body=dumps(refusal(asked.problems)),
        )
    operation = await services.bulk_update.start(request.orchestrations, request.partition, asked)
    tell_studies(asked.studies)
    document = {"id": operation.id, "href": operation_url(request, operation.id)}
    return Response(status=HTTPStatus.ACCEPTED, media_type=JSON, body=orjson.dumps(document))
