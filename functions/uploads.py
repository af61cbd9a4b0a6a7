"""Uploads: addresses at which clients write large files straight to the inbox; no Standard's."""

from http import HTTPMethod, HTTPStatus

import azure.functions as func
import orjson

from functions.endpoint import Request, Response, transaction
from shared.access import DataAction
from shared.dicomweb.media_type import JSON
from shared.services.ingest_results import IngestResult
from shared.wiring import Services

blueprint = func.Blueprint()

# An address is as good as a password.
_HEADERS = {"Cache-Control": "no-store"}


@transaction(
    blueprint,
    "issue_upload",
    "uploads",
    HTTPMethod.POST,
    DataAction.WRITE,
    creates_partition=True,
)
async def issue_upload(request: Request, services: Services) -> Response:
    """Let one new file be uploaded: POST /uploads; v2, ours."""
    upload = await services.uploads.issue(request.partition)
    address = upload.address
    document = {
        "id": upload.id,
        "method": HTTPMethod.PUT,
        "url": address.url,
        "headers": address.headers,
        "expires": address.expires,
    }
    return Response(
        status=HTTPStatus.CREATED,
        media_type=JSON,
        body=orjson.dumps(document),
        headers={**_HEADERS, "Location": f"{request.base_url}/uploads/{upload.id}"},
    )


@transaction(blueprint, "retrieve_upload", "uploads/{upload}", HTTPMethod.GET, DataAction.READ)
async def retrieve_upload(request: Request, services: Services) -> Response:
    """Tell what became of a file of the inbox: GET /uploads/{upload}; v2, ours."""
    result = await services.uploads.result(request.partition, request.path["upload"])
    return Response(
        media_type=JSON, body=orjson.dumps(_document(result, request.base_url)), headers=_HEADERS
    )


def _document(result: IngestResult, base_url: str) -> dict[str, object]:
    path = result.path
    document: dict[str, object] = {"id": result.id, "status": result.status.value, "at": result.at}
    if result.expires is not None:
        document["expires"] = result.expires
    if path is not None:
        document["studyInstanceUid"] = path.study
        document["seriesInstanceUid"] = path.series
        document["sopInstanceUid"] = path.instance
        document["retrieveUrl"] = f"{base_url}/{path}"
    if result.reason is not None:
        document["reason"] = result.reason
    if result.sentences:
        document["sentences"] = result.sentences
    return document
