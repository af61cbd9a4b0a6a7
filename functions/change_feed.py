"""The change feed, a resource that the Standard does not have (reference)."""

from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import Response, ServiceRequest, resource
from shared.access import DataAction
from shared.dicomweb.change_feed import parse_change_feed_query, wants_metadata
from shared.dicomweb.media_type import JSON
from shared.services.change_feed import FeedView
from shared.wiring import Services

blueprint = func.Blueprint()


@resource(blueprint, "list_changes", "changefeed", HTTPMethod.GET, DataAction.READ)
async def list_changes(request: ServiceRequest, services: Services) -> Response:
    """List changes of all partitions: GET /changefeed."""
    query = parse_change_feed_query(request.query, version=request.version)
    view = _view(request, has_metadata=query.has_metadata)
    return Response(media_type=JSON, body=services.change_feed.page(query, view))


@resource(blueprint, "latest_change", "changefeed/latest", HTTPMethod.GET, DataAction.READ)
async def latest_change(request: ServiceRequest, services: Services) -> Response:
    """Give the latest change: GET /changefeed/latest."""
    view = _view(request, has_metadata=wants_metadata(request.query))
    entry = await services.change_feed.latest(view)
    if entry is None:
        return Response(status=HTTPStatus.NO_CONTENT)
    return Response(media_type=JSON, body=entry)


def _view(request: ServiceRequest, *, has_metadata: bool) -> FeedView:
    return FeedView(request.base_url, has_bulk=request.version > 1, has_metadata=has_metadata)
