"""Who the app is to the services of Azure that it uses."""

from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

type AppIdentity = DefaultAzureCredential | ManagedIdentityCredential


def app_identity(client_id: str) -> AppIdentity:
    """The app's user-assigned identity by its client ID; without one, whoever is found.

    Tries little: whoever uses it tries again, within a time of its own.
    """
    if not client_id:
        return DefaultAzureCredential()
    return ManagedIdentityCredential(
        client_id=client_id, retry_total=2, connection_timeout=3, read_timeout=5
    )
