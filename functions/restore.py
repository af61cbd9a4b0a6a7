"""Restore of what was deleted of a study; the Standard has no such transaction."""

from http import HTTPMethod

import azure.functions as func

from functions.endpoint import Request, Response, transaction
from functions.store import told
from shared.access import DataAction
from shared.dicom.uid import parse_uid
from shared.dicomweb.media_type import accept_dicom_json
from shared.wiring import Services

blueprint = func.Blueprint()


# Its name comes before that of POST /studies/{study}, as the host tries functions in that order.
@transaction(
    blueprint, "restore_study", "studies/{study}/$restore", HTTPMethod.POST, DataAction.DELETE
)
async def restore(request: Request, services: Services) -> Response:
    """Bring back what was deleted of a study: POST /studies/{study}/$restore; v2, ours."""
    accept_dicom_json(request.accept, version=request.version, preferred=request.preferred)
    study = parse_uid(request.path["study"])
    return told(request, await services.restore.restore(request.partition, study))
