"""After deployment: events of new files in the inbox go to the app.

The subscription is made now and not by Bicep, since Event Grid asks the running app whether it
wants the events, and the address holds a key that the app's host has made. A second run brings
the subscription up to date.

Source: "Tutorial: Trigger Azure Functions on blob containers using an event subscription".
"""

import os
import sys
from typing import Any
from urllib.parse import quote

from azure.core.exceptions import ClientAuthenticationError

from infra.hooks.management import RESOURCE_MANAGER, Api, HookError, api, wait_for

FUNCTION = "ingest"
CONTAINER = "inbox"

_KEY = "blobs_extension"
_WEB = "2024-11-01"
_EVENT_GRID = "2025-02-15"
_RETRIES = {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440}


def main() -> None:
    """Subscribe the app, once it runs."""
    env = os.environ
    group = (
        f"/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}"
        f"/resourceGroups/{env['AZURE_RESOURCE_GROUP']}"
    )
    app = f"{group}/providers/Microsoft.Web/sites/{env['APP_NAME']}"
    topic = f"{group}/providers/Microsoft.EventGrid/systemTopics/{env['EVENTS_TOPIC_NAME']}"
    subscribe(api(RESOURCE_MANAGER), app, topic, env["APP_HOST_NAME"])


def subscribe(resources: Api, app: str, topic: str, host: str, *, seconds: float = 10) -> None:
    """Wait for the function and its key, then subscribe, and see that it is accepted.

    Args:
        resources: Azure Resource Manager.
        app: Resource ID of the function app.
        topic: Resource ID of the topic of the storage account.
        host: Host name of the app.
        seconds: How long to wait between attempts.
    """
    function = f"{app}/functions/{FUNCTION}?api-version={_WEB}"
    wait_for(FUNCTION, lambda: resources.send("GET", function), tries=60, seconds=seconds)
    key = wait_for("its key", lambda: system_key(resources, app), tries=60, seconds=seconds)
    path = f"{topic}/eventSubscriptions/{FUNCTION}?api-version={_EVENT_GRID}"
    resources.send("PUT", path, subscription(endpoint(host, key)))
    wait_for("the subscription", lambda: _accepted(resources, path), tries=60, seconds=seconds)


def system_key(resources: Api, app: str) -> str | None:
    """The key that the host demands of whoever sends events of blobs."""
    keys = resources.send("POST", f"{app}/host/default/listkeys?api-version={_WEB}")
    found: str | None = (keys or {}).get("systemKeys", {}).get(_KEY)
    return found


def endpoint(host: str, key: str) -> str:
    """Where the host takes events of blobs for the function."""
    return (
        f"https://{host}/runtime/webhooks/blobs"
        f"?functionName=Host.Functions.{FUNCTION}&code={quote(key, safe='')}"
    )


def subscription(address: str) -> dict[str, Any]:
    """A subscription to new blobs of the inbox, and to nothing else of the account."""
    return {
        "properties": {
            "destination": {"endpointType": "WebHook", "properties": {"endpointUrl": address}},
            "eventDeliverySchema": "EventGridSchema",
            "filter": {
                "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
                "subjectBeginsWith": f"/blobServices/default/containers/{CONTAINER}/blobs/",
            },
            "retryPolicy": _RETRIES,
        }
    }


def _accepted(resources: Api, path: str) -> bool | None:
    answer = resources.send("GET", path)
    state = (answer or {}).get("properties", {}).get("provisioningState")
    if state in {"Failed", "Canceled"}:
        raise HookError("The app did not accept the subscription; run `azd hooks run postdeploy`.")
    return True if state == "Succeeded" else None


if __name__ == "__main__":
    try:
        main()
    except (HookError, ClientAuthenticationError) as error:
        sys.exit(str(error))
