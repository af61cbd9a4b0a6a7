"""Before provisioning: the app registration that tokens are made for, and who deploys.

Bicep describes resources of Azure; an app registration is one of Microsoft Entra ID. A second run
changes nothing. With ENTRA_AUDIENCE set by hand, nothing is registered at all.

Source: Microsoft Graph, "Upsert application", "Upsert servicePrincipal" and "Grant an
appRoleAssignment for a service principal".
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import ClientAuthenticationError

from infra.hooks.management import GRAPH, RESOURCE_MANAGER, Api, HookError, api, claims, tokens
from shared.access import ROLES

_NAMESPACE = uuid.UUID("5c5a8f5e-6f0e-4b53-9f1c-7c2b3a1d9e60")
_COMMAND_LINES = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
"""Client ID of Azure CLI, which azd signs in by too."""
_CREATE = {"Prefer": "create-if-missing"}
_TOKEN_VERSION = 2
_FIRST_ROLE = "Dicom.Administer"


def main() -> None:
    """See that the environment names an audience and an administrator."""
    values = administrator(claims(tokens(RESOURCE_MANAGER)()))
    if not os.environ.get("ENTRA_AUDIENCE"):
        principal = values["SQL_ADMINISTRATOR_ID"]
        values["ENTRA_AUDIENCE"] = register(api(GRAPH), os.environ["AZURE_ENV_NAME"], principal)
    for name, value in values.items():
        if not os.environ.get(name):
            # The program is azd itself, which runs this, and takes a value as an argument.
            subprocess.run(["azd", "env", "set", name, value], check=True)  # noqa: S603, S607


def administrator(found: Mapping[str, Any]) -> dict[str, str]:
    """Whoever deploys administers the database, by the claims of their token."""
    is_application = found.get("idtyp") == "app"
    names = ("app_displayname", "appid") if is_application else ("upn", "unique_name", "oid")
    return {
        "SQL_ADMINISTRATOR_ID": found["oid"],
        "SQL_ADMINISTRATOR_NAME": next(found[name] for name in names if found.get(name)),
        "SQL_ADMINISTRATOR_TYPE": "Application" if is_application else "User",
    }


def register(graph: Api, environment: str, principal: str) -> str:
    """Create or bring up to date the registration, and give the audiences of its tokens."""
    path = f"/v1.0/applications(uniqueName='dicomweb-{environment}')"
    graph.send("PATCH", path, application(environment), _CREATE)
    registered = _found(graph.send("GET", path), "the app registration")
    client_id = registered["appId"]
    graph.send("PATCH", path, exposed(client_id))
    service = f"/v1.0/servicePrincipals(appId='{client_id}')"
    graph.send("PATCH", service, {"displayName": registered["displayName"]}, _CREATE)
    _grant(graph, _found(graph.send("GET", service), "its service principal")["id"], principal)
    return f"api://{client_id},{client_id}"


def application(environment: str) -> dict[str, Any]:
    """The registration: roles for users and applications, and scopes of the same names."""
    return {
        "displayName": f"DICOMweb ({environment})",
        "signInAudience": "AzureADMyOrg",
        "appRoles": app_roles(),
    }


def exposed(client_id: str) -> dict[str, Any]:
    """What needs the client ID: the address of the API, and who may ask for its scopes."""
    scopes = [
        {
            "id": identifier("scope", role),
            "value": role,
            "type": "Admin",
            "isEnabled": True,
            "adminConsentDisplayName": role,
            "adminConsentDescription": description(role),
        }
        for role in ROLES
    ]
    return {
        "identifierUris": [f"api://{client_id}"],
        "api": {
            "requestedAccessTokenVersion": _TOKEN_VERSION,
            "oauth2PermissionScopes": scopes,
            "preAuthorizedApplications": [
                {
                    "appId": _COMMAND_LINES,
                    "delegatedPermissionIds": [scope["id"] for scope in scopes],
                }
            ],
        },
    }


def app_roles() -> list[dict[str, Any]]:
    """The roles, as Microsoft Graph and the manifest of a registration have them."""
    return [
        {
            "id": identifier("role", role),
            "value": role,
            "displayName": role,
            "description": description(role),
            "allowedMemberTypes": ["User", "Application"],
            "isEnabled": True,
        }
        for role in ROLES
    ]


def description(role: str) -> str:
    """What a role permits, by the names of the actions."""
    return "Permits: " + ", ".join(sorted(action.value for action in ROLES[role]))


def identifier(kind: str, role: str) -> str:
    """The same ID for the same role in every registration, so that nothing is made twice."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}/{role}"))


def _grant(graph: Api, service_id: str, principal: str) -> None:
    """Give whoever deploys a role, so that there is somebody who may use the server."""
    path = f"/v1.0/servicePrincipals/{service_id}/appRoleAssignedTo"
    role = identifier("role", _FIRST_ROLE)
    granted = _found(graph.send("GET", path), "its list of grants")["value"]
    if not any(one["principalId"] == principal and one["appRoleId"] == role for one in granted):
        body = {"principalId": principal, "resourceId": service_id, "appRoleId": role}
        graph.send("POST", path, body)


def _found(answer: dict[str, Any] | None, what: str) -> dict[str, Any]:
    if answer is None:
        raise HookError(f"Microsoft Graph does not know {what}")
    return answer


if __name__ == "__main__":
    try:
        main()
    except (HookError, ClientAuthenticationError) as error:
        sys.exit(str(error))
