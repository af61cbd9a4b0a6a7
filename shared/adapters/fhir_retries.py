"""When a request to a FHIR server is tried again, and for how long."""

import random
import time
from typing import Any

from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import RetryPolicy
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest, HttpResponse

from shared.adapters.fhir_bundles import is_busy

_TRIES = 6
_LONGEST_PAUSE_SECONDS = 15


class FhirRetries(RetryPolicy[HttpRequest, HttpResponse]):
    """Tries again while the server is busy or away, until a time is over.

    The SDK's own policy would obey any Retry-After, also one of hours and one that comes with a
    conflict, and lets all clients that were refused together come back together.
    """

    def __init__(self, seconds: float) -> None:
        """Try for some time, Retry-After included."""
        super().__init__(
            retry_total=_TRIES,
            retry_connect=_TRIES,
            retry_read=_TRIES,
            retry_status=_TRIES,
            retry_backoff_max=_LONGEST_PAUSE_SECONDS,
            timeout=seconds,
        )

    def configure_retries(self, options: dict[str, Any]) -> dict[str, Any]:
        """Begin with a request."""
        settings = super().configure_retries(options)
        settings["deadline"] = time.monotonic() + settings["timeout"]
        return settings

    def is_retry(
        self,
        settings: dict[str, Any],
        response: PipelineResponse[Any, Any],
    ) -> bool:
        """Whether a later try may succeed, and is not too late."""
        status: int = response.http_response.status_code
        pause = self.get_retry_after(response) or self.get_backoff_time(settings)
        seconds_left: float = settings["deadline"] - time.monotonic()
        return is_busy(status) and pause < seconds_left

    def sleep(
        self,
        settings: dict[str, Any],
        transport: HttpTransport[HttpRequest, HttpResponse],
        response: PipelineResponse[HttpRequest, HttpResponse] | None = None,
    ) -> None:
        """Wait, without the connection of an answer that nobody will read."""
        if response is not None:
            response.http_response.close()
        super().sleep(settings, transport, response)

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        """How long to wait where the server does not say it."""
        longest = super().get_backoff_time(settings)
        return longest * random.uniform(0.5, 1)  # noqa: S311 - nothing depends on its secrecy
