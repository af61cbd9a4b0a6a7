"""The list of data partitions, a resource that the Standard does not have (reference)."""

from http import HTTPMethod

import azure.functions as func
import orjson

from functions.endpoint import Response, ServiceRequest, resource
from shared.access import DataAction
from shared.dicomweb.media_type import JSON
from shared.wiring import Services

blueprint = func.Blueprint()


@resource(blueprint, "list_partitions", "partitions", HTTPMethod.GET, DataAction.READ)
async def list_partitions(_: ServiceRequest, services: Services) -> Response:
    """List the partitions, oldest first: GET /partitions."""
    listed = [
        {
            "partitionKey": partition.key,
            "partitionName": partition.name,
            "createdDate": partition.created,
        }
        for partition in await services.partitions.list()
    ]
    return Response(media_type=JSON, body=orjson.dumps(listed))
