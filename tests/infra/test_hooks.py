"""What the hooks send, to an API on this machine, and what they make of its answers."""

import re

import azure.functions as func
import pytest

from functions import ingest
from infra.hooks import app_registration, database, events
from infra.hooks.management import Api, HookError, claims, wait_for
from shared.access import ROLES
from tests.infra.remote import Remote

APP = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/func"
TOPIC = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/systemTopics/t"
FUNCTION = f"{APP}/functions/ingest"
SUBSCRIPTION = f"{TOPIC}/eventSubscriptions/ingest"


def test_requests_carry_a_token_and_answers_are_read(remote: Remote, api: Api) -> None:
    remote.answers = {("GET", "/a"): [(200, {"b": 1})], ("DELETE", "/a"): [(204, None)]}
    assert api.send("GET", "/a?api-version=1") == {"b": 1}
    assert api.send("DELETE", "/a") == {}
    assert {headers["Authorization"] for headers in remote.headers} == {"Bearer a-token"}
    assert remote.headers[0]["query"] == "api-version=1"


def test_what_is_not_there_is_none_and_what_is_refused_is_said(remote: Remote, api: Api) -> None:
    remote.answers = {("GET", "/a"): [(404, {})], ("PUT", "/a"): [(403, {"error": "no right"})]}
    assert api.send("GET", "/a") is None
    with pytest.raises(HookError, match=r"PUT /a: 403 .*no right") as raised:
        api.send("PUT", "/a?code=secret", {})
    assert "secret" not in str(raised.value)


def test_waiting_ends() -> None:
    answers = iter([None, None, "there"])
    assert wait_for("it", lambda: next(answers), tries=3, seconds=0) == "there"
    with pytest.raises(HookError, match="it is not there"):
        wait_for("it", lambda: None, tries=2, seconds=0)


def subscribed(remote: Remote, api: Api, *states: str) -> None:
    remote.answers = {
        ("GET", FUNCTION): [(404, None), (200, {"name": "ingest"})],
        ("POST", f"{APP}/host/default/listkeys"): [
            (200, {"systemKeys": {}}),
            (200, {"systemKeys": {"blobs_extension": "a+b/c=="}}),
        ],
        ("PUT", SUBSCRIPTION): [(201, {})],
        ("GET", SUBSCRIPTION): [
            (200, {"properties": {"provisioningState": state}}) for state in states
        ],
    }
    events.subscribe(api, APP, TOPIC, "func.azurewebsites.net", seconds=0)


def test_the_app_is_subscribed_once_it_is_there(remote: Remote, api: Api) -> None:
    subscribed(remote, api, "Creating", "Succeeded")
    [body] = [body for method, _, body in remote.asked if method == "PUT"]
    assert body["properties"]["destination"] == {
        "endpointType": "WebHook",
        "properties": {
            "endpointUrl": "https://func.azurewebsites.net/runtime/webhooks/blobs"
            "?functionName=Host.Functions.ingest&code=a%2Bb%2Fc%3D%3D"
        },
    }
    assert body["properties"]["filter"] == {
        "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
        "subjectBeginsWith": "/blobServices/default/containers/inbox/blobs/",
    }
    assert remote.asked[-1][:2] == ("GET", SUBSCRIPTION)


def test_a_subscription_that_the_app_does_not_accept_is_said(remote: Remote, api: Api) -> None:
    with pytest.raises(HookError, match="did not accept"):
        subscribed(remote, api, "Creating", "Failed")


def test_events_go_to_the_function_that_ingests() -> None:
    app = func.FunctionApp()
    app.register_functions(ingest.blueprint("EventGrid"))
    triggers = {found.get_function_name(): found.get_trigger() for found in app.get_functions()}
    trigger = triggers[events.FUNCTION]
    assert trigger is not None
    bound = trigger.get_dict_repr()
    assert bound["path"].partition("/")[0] == events.CONTAINER
    assert bound["connection"] == "DATA_STORAGE"


SID = "0x2F1D6D4D111122428333444455556666"


def test_the_user_is_known_by_the_client_id_and_may_only_read_and_write() -> None:
    statements = database.user("id-x", "4d6d1d2f-1111-4222-8333-444455556666")
    known = "SELECT 1 FROM sys.database_principals WHERE name = N'id-x'"
    assert statements.splitlines() == [
        f"IF EXISTS ({known} AND sid <> {SID}) DROP USER [id-x];",
        f"IF NOT EXISTS ({known}) CREATE USER [id-x] WITH SID = {SID}, TYPE = E;",
        "ALTER ROLE db_datareader ADD MEMBER [id-x];",
        "ALTER ROLE db_datawriter ADD MEMBER [id-x];",
    ]


def test_no_name_ends_a_statement() -> None:
    statements = database.user("a]; DROP TABLE b; --' x", "4d6d1d2f-1111-4222-8333-444455556666")
    assert "[a]]; DROP TABLE b; --' x]" in statements
    assert "N'a]; DROP TABLE b; --'' x'" in statements


@pytest.mark.parametrize(
    ("message", "address"),
    [
        (
            "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Cannot open server "
            "'sql-x' requested by the login. Client with IP address '203.0.113.7' is not allowed "
            "to access the server. (40615) (SQLDriverConnect)",
            "203.0.113.7",
        ),
        ("[28000] Login failed for user '<token-identified principal>'. (18456)", None),
    ],
)
def test_the_firewall_says_whom_it_refused(message: str, address: str | None) -> None:
    assert database.refused_address(message) == address


def test_the_rule_belongs_to_the_server() -> None:
    assert database.firewall_rule("s", "g", "sql-x") == (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Sql/servers/sql-x"
        "/firewallRules/deploying-machine?api-version=2023-08-01"
    )


def test_whoever_deploys_administers_the_database() -> None:
    user = {"oid": "1", "upn": "who@example.org", "idtyp": "user"}
    assert app_registration.administrator(user) == {
        "SQL_ADMINISTRATOR_ID": "1",
        "SQL_ADMINISTRATOR_NAME": "who@example.org",
        "SQL_ADMINISTRATOR_TYPE": "User",
    }
    application = {"oid": "2", "appid": "3", "idtyp": "app"}
    assert app_registration.administrator(application) == {
        "SQL_ADMINISTRATOR_ID": "2",
        "SQL_ADMINISTRATOR_NAME": "3",
        "SQL_ADMINISTRATOR_TYPE": "Application",
    }


def test_claims_are_read_from_a_token() -> None:
    # {"oid":"1"} in base64url, without its padding.
    assert claims("eyJhbGciOiJub25lIn0.eyJvaWQiOiIxIn0.signature") == {"oid": "1"}


REGISTRATION = "/v1.0/applications(uniqueName='dicomweb-test')"
SERVICE = "/v1.0/servicePrincipals(appId='the-client')"
GRANTS = "/v1.0/servicePrincipals/the-service/appRoleAssignedTo"


def registered(remote: Remote, api: Api, grants: list[dict[str, str]]) -> str:
    remote.answers = {
        ("PATCH", REGISTRATION): [(201, {}), (204, None)],
        ("GET", REGISTRATION): [(200, {"appId": "the-client", "displayName": "DICOMweb (test)"})],
        ("PATCH", SERVICE): [(204, None)],
        ("GET", SERVICE): [(200, {"id": "the-service"})],
        ("GET", GRANTS): [(200, {"value": grants})],
        ("POST", GRANTS): [(201, {})],
    }
    return app_registration.register(api, "test", "who")


def test_the_api_is_registered_with_its_roles_and_scopes(remote: Remote, api: Api) -> None:
    assert registered(remote, api, []) == "api://the-client,the-client"
    created, exposed = [
        body for method, path, body in remote.asked if (method, path) == ("PATCH", REGISTRATION)
    ]
    assert remote.headers[0]["Prefer"] == "create-if-missing"
    assert [role["value"] for role in created["appRoles"]] == list(ROLES)
    assert exposed["identifierUris"] == ["api://the-client"]
    scopes = exposed["api"]["oauth2PermissionScopes"]
    assert [scope["value"] for scope in scopes] == list(ROLES)
    [allowed] = exposed["api"]["preAuthorizedApplications"]
    assert allowed["delegatedPermissionIds"] == [scope["id"] for scope in scopes]
    identifiers = [item["id"] for item in (*created["appRoles"], *scopes)]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"[0-9a-f-]{36}", found) for found in identifiers)


def test_whoever_deploys_is_given_a_role_once(remote: Remote, api: Api) -> None:
    registered(remote, api, [])
    [granted] = [body for method, path, body in remote.asked if (method, path) == ("POST", GRANTS)]
    assert granted["principalId"] == "who"
    assert granted["appRoleId"] == app_registration.identifier("role", "Dicom.Administer")
    remote.asked.clear()
    registered(remote, api, [granted])
    assert "POST" not in {method for method, _, _ in remote.asked}
