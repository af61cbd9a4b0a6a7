"""Export of instances to a container or a folder of others (reference; not in the Standard)."""

from http import HTTPMethod

import azure.durable_functions as df

from functions.endpoint import Request, Response, json_body, transaction
from functions.operations import accepted
from shared.access import DataAction
from shared.dicomweb.export_request import parse_export
from shared.wiring import Services

blueprint = df.Blueprint()


@transaction(blueprint, "export", "export", HTTPMethod.POST, DataAction.EXPORT, orchestrates=True)
async def export(request: Request, services: Services) -> Response:
    """Begin to export instances: POST /export."""
    services.export.check_offered()
    asked = parse_export(await json_body(request), version=request.version)
    operation = await services.export.start(request.orchestrations, request.partition, asked)
    return accepted(request, operation)
