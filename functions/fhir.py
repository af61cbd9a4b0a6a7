"""What a FHIR server is told: exports, studies told again, and what was put aside (ours)."""

from dataclasses import asdict
from http import HTTPMethod
from typing import Any

import azure.durable_functions as df
import orjson

from functions.endpoint import (
    Request,
    Response,
    ServiceRequest,
    json_body,
    resource,
    transaction,
)
from functions.operations import accepted
from shared.access import DataAction
from shared.dicom.uid import parse_uid
from shared.dicomweb.fhir_export_request import parse_fhir_export
from shared.dicomweb.media_type import JSON
from shared.dicomweb.parameter import page
from shared.services.fhir_dead_letters import DeadLetter
from shared.wiring import Services

blueprint = df.Blueprint()

_MAX_LIMIT = 200
_USUAL_LIMIT = 100


@transaction(
    blueprint, "fhir_export", "fhir/$export", HTTPMethod.POST, DataAction.EXPORT, orchestrates=True
)
async def export(request: Request, services: Services) -> Response:
    """Begin to tell the FHIR server of what is stored: POST /fhir/$export."""
    fhir = services.fhir
    asked = parse_fhir_export(
        await json_body(request), has_partition=request.base_url != request.service_url
    )
    operation = await fhir.export.start(request.orchestrations, request.partition, asked)
    return accepted(request, operation)


@transaction(
    blueprint,
    "fhir_resync",
    "fhir/studies/{study}/$resync",
    HTTPMethod.POST,
    DataAction.EXPORT,
)
async def resync(request: Request, services: Services) -> Response:
    """Tell the FHIR server of one study now: POST /fhir/studies/{study}/$resync."""
    return await _told(request.partition.name, parse_uid(request.path["study"]), services)


@resource(blueprint, "fhir_status", "fhir", HTTPMethod.GET, DataAction.READ)
async def status(request: ServiceRequest, services: Services) -> Response:  # noqa: ARG001
    """Tell up to where the FHIR server has been told: GET /fhir."""
    return _json(await services.fhir.sync.status())


@resource(blueprint, "list_fhir_dead_letters", "fhir/deadletters", HTTPMethod.GET, DataAction.READ)
async def list_dead_letters(request: ServiceRequest, services: Services) -> Response:
    """List the studies that were put aside: GET /fhir/deadletters."""
    limit, offset = page(request.query, most=_MAX_LIMIT, usual=_USUAL_LIMIT)
    letters = await services.fhir.letters.list(limit, offset)
    return _json([_document(letter) for letter in letters])


@resource(
    blueprint,
    "replay_fhir_dead_letter",
    "fhir/deadletters/{letter}/$replay",
    HTTPMethod.POST,
    DataAction.ADMINISTER,
)
async def replay_dead_letter(request: ServiceRequest, services: Services) -> Response:
    """Try a study again that was put aside: POST /fhir/deadletters/{letter}/$replay."""
    letter = await services.fhir.letters.get(request.path["letter"])
    return await _told(letter.partition, letter.study, services)


@resource(
    blueprint,
    "ignore_fhir_dead_letter",
    "fhir/deadletters/{letter}/$ignore",
    HTTPMethod.POST,
    DataAction.ADMINISTER,
)
async def ignore_dead_letter(request: ServiceRequest, services: Services) -> Response:
    """Try a study no more until it changes: POST /fhir/deadletters/{letter}/$ignore."""
    letter = await services.fhir.letters.ignore(request.path["letter"])
    return _json(_document(letter))


async def _told(partition: str, study: str, services: Services) -> Response:
    """Tell of a study, and answer what came of it."""
    delivered, warnings = await services.fhir.delivery.deliver_one((partition, study))
    told = {
        "written": delivered.written,
        "unchanged": delivered.unchanged,
        "refused": delivered.refused,
        "halt": delivered.halt,
    }
    return _json({**told, "warnings": [asdict(one) for one in warnings]})


def _document(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter, its members named as those of all other documents are."""
    return {
        "id": letter.id,
        "partition": letter.partition,
        "study": letter.study,
        "state": letter.state,
        "error": letter.error,
        "status": letter.status,
        "issues": letter.issues,
        "firstSequence": letter.first_sequence,
        "lastSequence": letter.last_sequence,
        "attempts": letter.attempts,
        "firstSeen": letter.first_seen,
        "lastSeen": letter.last_seen,
        "nextAttempt": letter.next_attempt,
    }


def _json(content: Any) -> Response:  # noqa: ANN401 - whatever JSON holds
    return Response(media_type=JSON, body=orjson.dumps(content))
