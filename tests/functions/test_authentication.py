"""Who is let in by a token, and what happens to everybody else."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.access import CallerKind, DataAction
from shared.errors import NotAuthenticatedError
from shared.wiring import Services
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, part10
from tests.functions.token_attacks import ATTACKS, OTHER_TENANT, Attack
from tests.issuer import AUDIENCE, CLIENT, TENANT, USER, Issuer, running_issuer

CHALLENGE = (
    f'Bearer realm="{TENANT}", authorization_uri="{{address}}/{TENANT}/oauth2/v2.0/authorize", '
    f'resource_id="{AUDIENCE}"'
)


@pytest.fixture(scope="module")
def module_issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(module_issuer: Issuer) -> Issuer:
    """The issuer as it was in the beginning."""
    module_issuer.__init__(module_issuer.address)  # type: ignore[misc]
    return module_issuer


@pytest.fixture
async def services(tmp_path: Path, issuer: Issuer) -> AsyncIterator[Services]:
    settings = {**issuer.settings, "CORS_ALLOWED_ORIGINS": "https://viewer.test"}
    async with open_archive(tmp_path, **settings) as opened:
        yield opened


@pytest.fixture
def client(services: Services) -> Client:  # noqa: ARG001 - the archive that the client speaks to
    return Client()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_token_that_does_not_hold_opens_nothing_and_is_told_nothing(
    client: Client, issuer: Issuer, attack: Attack
) -> None:
    headers = [f"Bearer {attack(issuer)}", f"Bearer {issuer.token()}", f"Bearer {attack(issuer)}"]
    first, good, again = [await client.get("/v2/studies", authorization=h) for h in headers]

    assert good.status_code == 204
    challenge = CHALLENGE.format(address=issuer.address)
    for answer in (first, again):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == f'{challenge}, error="invalid_token"'
        assert code_of(answer.content) == "NotAuthenticated"
        assert answer.json()["error"]["message"] == "The bearer token is not valid."


@pytest.mark.parametrize(
    "form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer  {}", "Bearer {} "]
)
async def test_the_scheme_is_read_as_http_has_it(client: Client, issuer: Issuer, form: str) -> None:
    header = form.format(issuer.token("Dicom.Read"))
    assert (await client.get("/v2/studies", authorization=header)).status_code == 204


@pytest.mark.parametrize(
    "form",
    [
        *("{}", "Bearer{}", "Bearer\t{}", "Bearer,{}", "Bearer {0}, Bearer {0}", 'Bearer "{}"'),
        *("Basic {}", "Token {}", "Bearer token={}", "Bearer {}\x0b", "Bearer {}=x", "Bearer"),
    ],
)
async def test_what_is_no_bearer_token_is_refused(
    client: Client, issuer: Issuer, form: str
) -> None:
    header = form.format(issuer.token("Dicom.Read"))
    answer = await client.get("/v2/studies", authorization=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_two_tokens_are_refused_even_if_both_hold(services: Services, issuer: Issuer) -> None:
    header = f"Bearer {issuer.token()}"
    for lines in ([header, header], [header, "Basic eA=="], ["Basic eA==", header]):
        with pytest.raises(NotAuthenticatedError):
            await services.access.permit(lines, DataAction.READ)


@pytest.mark.parametrize("name", ["access_token", "token", "authorization", "code"])
async def test_a_token_in_the_query_string_is_not_looked_at(
    client: Client, issuer: Issuer, name: str
) -> None:
    answer = await client.get(f"/v2/studies?{name}={issuer.token()}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == CHALLENGE.format(address=issuer.address)


async def test_without_a_token_the_challenge_says_where_to_get_one(
    client: Client, issuer: Issuer
) -> None:
    answer = await client.get("/v2/studies", origin="https://viewer.test")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == CHALLENGE.format(address=issuer.address)
    assert answer.headers["access-control-allow-origin"] == "https://viewer.test"
    assert code_of(answer.content) == "NotAuthenticated"
    assert issuer.fetched == []


async def test_head_is_guarded_like_get(client: Client, issuer: Issuer) -> None:
    answer = await client.send("HEAD", "/v2/studies")
    assert (answer.status_code, answer.content) == (401, b"")
    header = {"Authorization": f"Bearer {issuer.token('Dicom.Read')}"}
    assert (await client.send("HEAD", "/v2/studies", headers=header)).status_code == 204


async def test_a_caller_without_the_right_learns_nothing_and_changes_nothing(
    client: Client, services: Services, issuer: Issuer
) -> None:
    sent = []

    async def body() -> AsyncIterator[bytes]:
        sent.append(1)
        yield part10(dataset())

    for token, status in (("", 401), (issuer.token("Dicom.Read"), 403)):
        headers = {"Content-Type": "application/dicom", "Origin": "https://viewer.test"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        for path in ("/v2/studies", "/v2/partitions/new/studies", "/v9/studies"):
            answer = await client.send("POST", path, headers=headers, content=body())
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://viewer.test"
    assert sent == []
    assert [p.name for p in await services.index.list_partitions()] == ["Microsoft.Default"]


async def test_what_is_missing_looks_like_what_is_there(client: Client, issuer: Issuer) -> None:
    header = {"authorization": f"Bearer {issuer.token('Dicom.Export')}"}
    for path in ("/v2/studies/1.2.3", "/v2/partitions/none/studies", "/v2/studies?x=1"):
        answer = await client.get(path, **header)
        assert answer.status_code == 403
        assert code_of(answer.content) == "NotPermitted"


type Line = tuple[str, str]

STORE = ("POST", "/v2/studies")
SEARCH = ("GET", "/v2/studies")
DELETE = ("DELETE", "/v2/studies/1.2.3")
ALLOWED = {
    "Dicom.Read": {SEARCH},
    "Dicom.ReadWrite": {SEARCH, STORE},
    "Dicom.Delete": {DELETE},
    "Dicom.ManageExtendedQueryTags": set(),
    "Dicom.Export": set(),
    "Dicom.Administer": {SEARCH, STORE, DELETE},
    "globalReader": {SEARCH},
    "globalAdmin": {SEARCH, STORE, DELETE},
    "dicom.read": set(),
    "Dicom.Read Dicom.ReadWrite": set(),
    "anonymous": set(),
    "read": set(),
}


@pytest.mark.parametrize(("role", "allowed"), ALLOWED.items())
async def test_a_role_permits_what_the_table_says(
    client: Client, issuer: Issuer, role: str, allowed: set[Line]
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(role)}"}
    for method, path in (STORE, SEARCH, DELETE):
        status = (await client.send(method, path, headers=headers)).status_code
        assert (status not in (401, 403)) == ((method, path) in allowed)
        assert status != 401


async def test_several_roles_permit_what_any_of_them_does(client: Client, issuer: Issuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.token('Dicom.Read', 'Dicom.Delete')}"}
    assert (await client.send(*SEARCH, headers=headers)).status_code == 204
    assert (await client.send(*DELETE, headers=headers)).status_code == 404
    assert (await client.send(*STORE, headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "case",
    [
        ("Dicom.Read", ["Dicom.Administer"], SEARCH, 204),
        ("Dicom.Read", ["Dicom.Administer"], DELETE, 403),
        ("openid Dicom.Read Dicom.Delete", ["Dicom.Administer"], DELETE, 404),
        ("Dicom.Administer", ["Dicom.Read"], DELETE, 403),
        ("Dicom.Administer", ["Dicom.Read"], SEARCH, 204),
        ("Dicom.Administer", [], SEARCH, 403),
        ("Dicom.Administer", None, SEARCH, 403),
        ("Mail.Read", ["Dicom.Administer"], SEARCH, 403),
        ("https://graph.microsoft.com/Dicom.Read", ["Dicom.Administer"], SEARCH, 403),
        ("", ["Dicom.Administer"], SEARCH, 403),
        (None, None, SEARCH, 403),
    ],
)
async def test_a_user_may_do_what_both_the_scopes_and_the_roles_permit(
    client: Client, issuer: Issuer, case: tuple[str | None, list[str] | None, Line, int]
) -> None:
    scopes, roles, line, status = case
    token = issuer.token(scp=scopes, roles=roles)
    answer = await client.send(*line, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status


async def test_the_caller_is_known_by_the_ids_of_entra(services: Services, issuer: Issuer) -> None:
    user = issuer.token(scp="Dicom.Read", sub="pairwise", roles=["Dicom.Read"])
    found = await services.access.permit([f"Bearer {user}"], DataAction.READ)
    assert (found.kind, found.object_id, found.client_id) == (CallerKind.USER, USER, CLIENT)
    app = issuer.token(azp=None, appid=CLIENT)
    found = await services.access.permit([f"Bearer {app}"], DataAction.READ)
    assert (found.kind, found.client_id) == (CallerKind.APPLICATION, CLIENT)


@pytest.mark.parametrize("audience", [AUDIENCE, CLIENT])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_both_forms_of_entras_tokens_are_taken(
    client: Client, issuer: Issuer, audience: str, version: str
) -> None:
    name = issuer.name if version == "2.0" else f"https://sts.windows.net/{TENANT}/"
    token = issuer.token(iss=name, aud=audience, ver=version)
    answer = await client.get("/v2/studies", authorization=f"Bearer {token}")
    assert answer.status_code == 204


async def test_clocks_may_differ_by_a_little(client: Client, issuer: Issuer) -> None:
    now = int(time.time())
    for changes in ({"exp": now - 20}, {"nbf": now + 20, "iat": now}):
        token = issuer.token(**changes)
        answer = await client.get("/v2/studies", authorization=f"Bearer {token}")
        assert answer.status_code == 204


@pytest.mark.parametrize("path", ["/health/check", "/v2/api.json", "/v1/api.yaml"])
async def test_what_is_for_everybody_asks_for_no_token(client: Client, path: str) -> None:
    assert (await client.get(path)).status_code == 200
    assert (await client.get(path, authorization="Bearer nonsense")).status_code == 200


async def test_the_description_says_which_roles_permit_what(client: Client, issuer: Issuer) -> None:
    document = (await client.get("/v2/api.json")).json()

    assert document["components"]["securitySchemes"] == {
        "entra": {
            "type": "openIdConnect",
            "openIdConnectUrl": f"{issuer.name}/.well-known/openid-configuration",
        }
    }
    studies, description = document["paths"]["/v2/studies"], document["paths"]["/v2/api.json"]
    permitting = {role for demand in studies["post"]["security"] for role in demand["entra"]}
    assert permitting == {"Dicom.ReadWrite", "Dicom.Administer", "globalAdmin"}
    assert {"401", "403"} <= studies["get"]["responses"].keys()
    assert "security" not in description["get"]
    assert "401" not in description["get"]["responses"]


async def test_a_browser_may_ask_before_it_sends_a_token(client: Client) -> None:
    headers = {"Origin": "https://viewer.test", "Access-Control-Request-Method": "GET"}
    answer = await client.send("OPTIONS", "/v2/studies", headers=headers)
    assert answer.status_code == 204
    assert "Authorization" in answer.headers["access-control-allow-headers"]


async def test_while_the_issuer_is_away_and_no_key_is_known_nobody_is_let_in(
    client: Client, issuer: Issuer
) -> None:
    issuer.is_away = True
    for header in (f"Bearer {issuer.token()}", "Bearer a.b.c"):
        answer = await client.get("/v2/studies", authorization=header)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
    assert (await client.get("/v2/studies")).status_code == 401


async def test_known_keys_serve_on_while_the_issuer_is_away(client: Client, issuer: Issuer) -> None:
    header = {"authorization": f"Bearer {issuer.token()}"}
    assert (await client.get("/v2/studies", **header)).status_code == 204
    issuer.is_away = True
    other = {"authorization": f"Bearer {issuer.token('Dicom.Read')}"}
    assert (await client.get("/v2/studies", **other)).status_code == 204


async def test_no_secret_of_a_token_is_logged(
    client: Client, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = issuer.token(tid=OTHER_TENANT)
    for sent in (token, issuer.token(), token[:-9]):
        await client.get("/v2/studies", authorization=f"Bearer {sent}")
        assert sent.split(".")[1] not in caplog.text
