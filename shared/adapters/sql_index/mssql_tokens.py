"""Access tokens for Azure SQL: the app signs in there as itself."""

from collections.abc import Callable
from threading import Lock

from azure.core.exceptions import AzureError
from azure.identity import get_bearer_token_provider

from shared.adapters.azure_identity import app_identity
from shared.errors import StoreUnavailableError

_SCOPE = "https://database.windows.net/.default"


def identity_tokens(client_id: str) -> Callable[[], str]:
    """Give a function that gives a token, a new one only where the last is about to expire.

    Args:
        client_id: Of a user-assigned identity; without it, whoever DefaultAzureCredential finds.
    """
    provide = get_bearer_token_provider(app_identity(client_id), _SCOPE)
    one_at_a_time = Lock()

    def token() -> str:
        try:
            with one_at_a_time:
                return provide()
        except AzureError as error:
            raise StoreUnavailableError("The app cannot prove who it is to the index.") from error

    return token
