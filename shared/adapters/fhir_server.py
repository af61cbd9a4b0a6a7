"""A FHIR server over HTTP.

Requests are tried again for about a minute: all of them may be, as every change names the version
that it is made to, or is made only where nothing is found. Nothing is ever followed elsewhere, and
of what is sent and answered nothing is logged.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    HeadersPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse

from shared.adapters.fhir_bundles import (
    check,
    check_entry,
    entries,
    etag,
    is_busy,
    resources,
    searching,
    status_of,
    writing,
    written,
)
from shared.adapters.fhir_retries import FhirRetries
from shared.adapters.own_threads import OwnThreads
from shared.errors import (
    FhirAccessError,
    FhirConflictError,
    FhirRefusedError,
    StoreUnavailableError,
)
from shared.fhir.reference import referring
from shared.fhir.resource import Resource
from shared.fhir.search import FhirSearch
from shared.ports import FhirRelease, FhirServer, FhirWrite, FhirWritten

_FHIR_JSON = "application/fhir+json"
_OUTCOME = "OperationOutcome"
_FORM = "application/x-www-form-urlencoded"
_MAX_ANSWER_BYTES = 64 * 1_048_576
_MAX_PAGES = 20
_METHODS = ["GET", "POST", "PUT", "DELETE"]
_TRYING_SECONDS = 60
_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 30
_THREADS = 8
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_NOT_LET_IN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

type Credential = Callable[[], Awaitable[TokenCredential | None]]
"""Gives what proves who the app is, as it is now: secrets are changed from time to time."""


class HttpFhirServer(FhirServer):
    """A server at its base address.

    As with the other services, the SDK is used without its asynchronous half, which would bring
    another HTTP client: a study takes two requests, and calls wait in threads of their own.
    """

    def __init__(  # noqa: PLR0913
        self,
        base_url: str,
        credential: Credential,
        scope: str,
        *,
        trying_seconds: float = _TRYING_SECONDS,
        answer_seconds: float = _ANSWER_SECONDS,
        threads: int = _THREADS,
    ) -> None:
        """Use a server; nothing is asked yet.

        Args:
            base_url: Its base address.
            credential: What tokens come from.
            scope: What they are made for.
            trying_seconds: How long a request is tried again.
            answer_seconds: How long the server may be silent.
            threads: How many requests may be under way at once.
        """
        self._base_url = base_url.rstrip("/")
        self._credential = credential
        self._scope = scope
        self._trying_seconds = trying_seconds
        self._answer_seconds = answer_seconds
        self._threads = OwnThreads("fhir", threads)
        self._transport = RequestsTransport()
        self._client: PipelineClient[HttpRequest, HttpResponse] | None = None
        self._capabilities: Mapping[str, Any] | None = None

    async def release(self) -> FhirRelease:
        """See FhirServer."""
        version = str((await self._statement()).get("fhirVersion", ""))
        for release in FhirRelease:
            if version.startswith(f"{release.value}."):
                return release
        raise FhirAccessError("The FHIR server speaks no release that the app speaks.")

    async def search(self, searches: Sequence[FhirSearch]) -> Sequence[Sequence[Resource]]:
        """See FhirServer."""
        if not searches:
            return []
        if not await self._offers("batch"):
            return [await self._search_one(search) for search in searches]
        bundle = await self._posted(searching(searches))
        found = []
        for entry in entries(bundle, len(searches)):
            check_entry(entry)
            found.append(await self._all_pages(entry.get("resource", {})))
        return found

    async def read(self, reference: str) -> Resource | None:
        """See FhirServer."""
        status, body, _ = await self._send(HttpRequest("GET", f"{self._base_url}/{reference}"))
        if status in _GONE:
            return None
        check(status, body)
        return body

    async def write(self, writes: Sequence[FhirWrite]) -> Sequence[FhirWritten]:
        """See FhirServer."""
        if not await self._offers("transaction"):
            return await self._write_one_by_one(writes)
        bundle = await self._posted(writing(writes), Prefer="return=minimal")
        found = entries(bundle, len(writes))
        for entry in found:
            check_entry(entry)
        return [written(status_of(one), one.get("response", {}).get("location")) for one in found]

    async def close(self) -> None:
        """See FhirServer."""
        self._threads.close()
        self._transport.close()

    async def _posted(self, bundle: Resource, **headers: str) -> Resource:
        status, body, _ = await self._send(self._request("POST", "", bundle, headers))
        if status in _GONE:
            if bundle["type"] == "transaction" and body.get("resourceType") == _OUTCOME:
                raise FhirConflictError("A resource of the FHIR server is gone.")
            raise FhirAccessError("There is no FHIR server at the base address.")
        check(status, body)
        return body

    async def _search_one(self, search: FhirSearch) -> Sequence[Resource]:
        url = f"{self._base_url}/{search.resource_type}/_search"
        headers = {"Content-Type": _FORM}
        request = HttpRequest("POST", url, headers=headers, content=search.query.encode())
        status, body, _ = await self._send(request)
        check(status, body)
        return await self._all_pages(body)

    async def _all_pages(self, bundle: Resource) -> Sequence[Resource]:
        found = resources(bundle)
        for _ in range(_MAX_PAGES):
            links = bundle.get("link") or ()
            link = next((str(one.get("url")) for one in links if one.get("relation") == "next"), "")
            if not link.startswith(f"{self._base_url}/") and not self._is_of_server(link):
                break
            status, bundle, _ = await self._send(HttpRequest("GET", link))
            check(status, bundle)
            found += resources(bundle)
        return found

    def _is_of_server(self, link: str) -> bool:
        own, other = urlsplit(self._base_url), urlsplit(link)
        return (own.scheme, own.netloc) == (other.scheme, other.netloc) and other.path == own.path

    async def _write_one_by_one(self, writes: Sequence[FhirWrite]) -> Sequence[FhirWritten]:
        """Make changes in order; what later ones refer to is there by then."""
        known: dict[str, str] = {}
        outcomes = []
        for write in writes:
            outcome = await self._write_one(write, known)
            if write.full_url is not None and outcome.reference is not None:
                known[write.full_url] = outcome.reference
            outcomes.append(outcome)
        return outcomes

    async def _write_one(self, write: FhirWrite, known: Mapping[str, str]) -> FhirWritten:
        headers = {"Prefer": "return=minimal"}
        if write.if_match is not None:
            headers["If-Match"] = etag(write.if_match)
        if write.if_none_exist is not None:
            headers["If-None-Exist"] = write.if_none_exist.query
        resource = referring(write.resource, known)
        request = self._request(write.method, f"/{write.url}", resource, headers)
        status, body, answered = await self._send(request)
        if status in _GONE and write.method == "DELETE":
            return FhirWritten(HTTPStatus.NO_CONTENT)
        if status in _GONE and write.method == "PUT":
            raise FhirConflictError("A resource of the FHIR server is gone.")
        check(status, body)
        location = answered.get("Location")
        if location is None and write.if_none_exist is not None:
            [found] = await self.search([FhirSearch(write.url, write.if_none_exist.parameters)])
            location = f"{write.url}/{found[0]['id']}" if found else None
        return written(status, location)

    def _request(
        self, method: str, path: str, resource: Resource | None, headers: Mapping[str, str]
    ) -> HttpRequest:
        given = dict(headers)
        content = None
        if resource is not None:
            given["Content-Type"] = _FHIR_JSON
            content = orjson.dumps(resource)
        return HttpRequest(method, self._base_url + path, headers=given, content=content)

    async def _offers(self, interaction: str) -> bool:
        rests = (await self._statement()).get("rest") or [{}]
        offered = rests[0].get("interaction") or ()
        return any(one.get("code") == interaction for one in offered)

    async def _statement(self) -> Mapping[str, Any]:
        if self._capabilities is None:
            url = f"{self._base_url}/metadata"
            status, body, _ = await self._send(HttpRequest("GET", url))
            if is_busy(status):
                check(status, body)
            is_refused = status >= HTTPStatus.BAD_REQUEST
            if is_refused or body.get("resourceType") != "CapabilityStatement":
                raise FhirAccessError("There is no FHIR server at the base address.")
            self._capabilities = body
        return self._capabilities

    async def _send(self, request: HttpRequest) -> tuple[int, Resource, Mapping[str, str]]:
        status, content, headers = await self._tried(request)
        if status == HTTPStatus.UNAUTHORIZED:
            # The secret may have been changed since it was read.
            self._client = None
            status, content, headers = await self._tried(request)
        if status in _NOT_LET_IN:
            raise FhirAccessError("The FHIR server does not let the app in.")
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise FhirAccessError("The FHIR server sends the app elsewhere.")
        return status, _read(content, status), headers

    async def _tried(self, request: HttpRequest) -> tuple[int, bytes, Mapping[str, str]]:
        client = self._client
        if client is None:
            client = self._client = self._pipeline(await self._credential())
        return await self._threads.run(_sent, client, request, self._answer_seconds)

    def _pipeline(
        self, credential: TokenCredential | None
    ) -> PipelineClient[HttpRequest, HttpResponse]:
        policies: list[Any] = [
            HeadersPolicy({"Accept": _FHIR_JSON, "Cache-Control": "no-cache"}),
            UserAgentPolicy(base_user_agent="dicomweb"),
            FhirRetries(self._trying_seconds),
        ]
        if credential is not None:
            policies.append(_Bearer(credential, self._scope))
        # Connections outlive the proof: other requests may be on their way.
        return PipelineClient(self._base_url, policies=policies, transport=self._transport)


class _Bearer(BearerTokenCredentialPolicy[HttpRequest, HttpResponse]):
    """Tokens also without encryption: settings see to it that this is only on this machine."""

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        """Let a request have its token."""
        is_encrypted = not request.http_request.url.startswith("http://")
        request.context.options["enforce_https"] = is_encrypted
        super().on_request(request)


def _sent(
    client: PipelineClient[HttpRequest, HttpResponse],
    request: HttpRequest,
    answer_seconds: float,
) -> tuple[int, bytes, Mapping[str, str]]:
    try:
        response = client.send_request(
            request,
            stream=True,
            retry_on_methods=_METHODS,
            connection_timeout=_CONNECT_SECONDS,
            read_timeout=answer_seconds,
        )
        with response:
            return response.status_code, _bounded(response), response.headers
    except ClientAuthenticationError as error:
        raise FhirAccessError("The app gets no token for the FHIR server.") from error
    except AzureError as error:
        raise StoreUnavailableError("The FHIR server does not answer now.") from error


def _bounded(response: HttpResponse) -> bytes:
    content = bytearray()
    end = time.monotonic() + _TRYING_SECONDS
    for chunk in response.iter_bytes():
        content += chunk
        if time.monotonic() > end:
            raise StoreUnavailableError("The FHIR server answers too slowly.")
        if len(content) > _MAX_ANSWER_BYTES:
            raise FhirRefusedError("The FHIR server answers too much.", response.status_code)
    return bytes(content)


def _read(content: bytes, status: int) -> Resource:
    try:
        found = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return found
    if status >= HTTPStatus.BAD_REQUEST:
        return {}
    raise FhirAccessError("What answers at the base address is no FHIR server.")
