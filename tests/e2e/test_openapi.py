"""What the service says of itself, held against what it does by requests made from it."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, CheckContext, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.builders import image, part10
from tests.e2e.server import Server, running
from tests.e2e.wire import client, store_one

pytestmark = [pytest.mark.host, pytest.mark.slow]


def no_failure(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """Nothing fails; what a deployment does not have (501) is no failure."""
    if response.status_code == HTTPStatus.NOT_IMPLEMENTED:
        return None
    return not_a_server_error(ctx, response, case)


_CHECKS = [
    no_failure,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_FEW = settings(
    max_examples=3,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: what is sent creates partitions and deletes studies."""
    with running(tmp_path_factory.mktemp("openapi") / "data", workers=1) as started:
        yield started
        assert "Traceback" not in started.log()


@pytest.fixture(params=["v1", "v2"])
def document(server: Server, request: pytest.FixtureRequest) -> dict[str, Any]:
    answer = httpx.get(f"{server.address}/{request.param}/api.json", trust_env=False)
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def described(document: dict[str, Any]) -> Any:
    """The API with whatever identifiers fit."""
    return schemathesis.openapi.from_dict(document)


@pytest.fixture
def described_with_study(server: Server, document: dict[str, Any]) -> Any:
    """The API with the identifiers of an instance that is there, which nothing takes away."""
    dataset = image(frames=2)
    asyncio.run(_store(server, part10(dataset)))
    stored = {
        "study": str(dataset.StudyInstanceUID),
        "series": str(dataset.SeriesInstanceUID),
        "instance": str(dataset.SOPInstanceUID),
        "frames": "1",
        "reference": "7FE00010",
    }
    for item in document["paths"].values():
        for parameter in item["parameters"]:
            if parameter["name"] in stored:
                parameter["schema"] = {"enum": [stored[parameter["name"]]]}
    return (
        schemathesis.openapi.from_dict(document)
        .exclude(method=["DELETE", "HEAD"])
        .exclude(path_regex="partitions")
    )


async def _store(server: Server, file: bytes) -> None:
    async with client(server.v2) as http:
        assert (await store_one(http, file)).status_code == 200


@schemathesis.serializer("application/dicom", "multipart/related")
def _as_it_is(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _check(server: Server, api: Any, subtests: pytest.Subtests) -> None:
    with requests.Session() as session:
        session.trust_env = False
        for found in api.get_all_operations():
            operation = found.ok()

            @_FEW
            @given(case=operation.as_strategy())
            def answer(case: Any) -> None:
                case.call_and_validate(base_url=server.address, checks=_CHECKS, session=session)

            with subtests.test(operation.label):
                answer()


def test_every_answer_is_one_that_is_described(
    server: Server, described: Any, subtests: pytest.Subtests
) -> None:
    _check(server, described, subtests)


def test_every_answer_about_a_study_is_one_that_is_described(
    server: Server, described_with_study: Any, subtests: pytest.Subtests
) -> None:
    _check(server, described_with_study, subtests)
