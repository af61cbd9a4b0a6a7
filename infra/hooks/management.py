"""Requests to Azure's management APIs, as whoever is signed in to azd or Azure CLI."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from azure.core.credentials import TokenCredential
from azure.identity import (
    AzureCliCredential,
    AzureDeveloperCliCredential,
    ChainedTokenCredential,
    get_bearer_token_provider,
)

RESOURCE_MANAGER = "https://management.azure.com"
GRAPH = "https://graph.microsoft.com"
DATABASE = "https://database.windows.net"

_TIMEOUT_SECONDS = 60


class HookError(Exception):
    """What a hook had to do cannot be done; the text says why."""


class Api:
    """An API that answers in JSON, below one address."""

    def __init__(self, root: str, token: Callable[[], str]) -> None:
        """Ask below a root, with tokens that a function gives."""
        self._root = root
        self._token = token

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """The answer to a request; None where there is no such resource.

        Raises:
            HookError: It is refused.
        """
        answer = requests.request(
            method,
            f"{self._root}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self._token()}", **(headers or {})},
            timeout=_TIMEOUT_SECONDS,
        )
        if answer.status_code == requests.codes.not_found:
            return None
        if not answer.ok:
            # Of the address only the path is told: a query may hold a key.
            raise HookError(
                f"{method} {path.partition('?')[0]}: {answer.status_code} {answer.text}"
            )
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found


def credential() -> TokenCredential:
    """Whoever is signed in to azd, or else to Azure CLI."""
    return ChainedTokenCredential(AzureDeveloperCliCredential(), AzureCliCredential())


def tokens(resource: str) -> Callable[[], str]:
    """A function that gives a token for a resource, a new one where the last is about to expire."""
    return get_bearer_token_provider(credential(), f"{resource}/.default")


def api(root: str) -> Api:
    """Azure Resource Manager, or Microsoft Graph."""
    return Api(root, tokens(root))


def claims(token: str) -> dict[str, Any]:
    """What a token says of whoever it was given to; it is not checked, as it is our own."""
    segment = token.split(".")[1]
    found: dict[str, Any] = json.loads(
        base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    )
    return found


def wait_for[T](what: str, attempt: Callable[[], T | None], *, tries: int, seconds: float) -> T:
    """What an attempt gives at last.

    Raises:
        HookError: It gave nothing, each time.
    """
    for _ in range(tries):
        found = attempt()
        if found is not None:
            return found
        time.sleep(seconds)
    raise HookError(f"{what} is not there after {tries * seconds:.0f} seconds")
