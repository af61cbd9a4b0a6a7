"""After provisioning: the schema of the database, and the user that the app is in it.

Only the database itself knows its users, and only its administrator, who deploys, may make them.
A second run changes nothing.
"""

import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from azure.core.exceptions import ClientAuthenticationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from infra.hooks.management import (
    DATABASE,
    RESOURCE_MANAGER,
    Api,
    HookError,
    api,
    tokens,
    wait_for,
)
from shared.adapters.sql_index.migrate import migrate
from shared.adapters.sql_index.mssql import Server, server_url
from shared.errors import StoreUnavailableError

_ROLES = ("db_datareader", "db_datawriter")
"""Reads and writes of rows; the locks that the app takes are open to everybody (sp_getapplock)."""

_API_VERSION = "2023-08-01"
_RULE = "deploying-machine"
_NOT_ALLOWED = re.compile(r"Client with IP address '([0-9.]+)' is not allowed", re.IGNORECASE)


def main() -> None:
    """Migrate the database, and let the app's identity into it."""
    env = os.environ
    url = server_url(env["SQL_SERVER"], env["SQL_DATABASE"])
    token = tokens(DATABASE)
    rule = firewall_rule(
        env["AZURE_SUBSCRIPTION_ID"], env["AZURE_RESOURCE_GROUP"], env["SQL_SERVER_NAME"]
    )
    with reachable(url, token, api(RESOURCE_MANAGER), rule):
        migrate(url, token=token)
        execute(url, token, user(env["APP_IDENTITY_NAME"], env["APP_IDENTITY_CLIENT_ID"]))


def user(name: str, client_id: str) -> str:
    """The statements that make an identity a user who may read and write rows.

    It is known by its client ID, so the server need not ask Microsoft Entra ID who it is.

    Source: T-SQL reference, CREATE USER, "WITH SID" and "TYPE = E".
    """
    quoted = "[" + name.replace("]", "]]") + "]"
    literal = "N'" + name.replace("'", "''") + "'"
    sid = "0x" + uuid.UUID(client_id).bytes_le.hex().upper()
    # No value can be bound in a statement that defines: both are quoted, or made here.
    known = f"SELECT 1 FROM sys.database_principals WHERE name = {literal}"  # noqa: S608
    return "\n".join(
        (
            f"IF EXISTS ({known} AND sid <> {sid}) DROP USER {quoted};",
            f"IF NOT EXISTS ({known}) CREATE USER {quoted} WITH SID = {sid}, TYPE = E;",
            *(f"ALTER ROLE {role} ADD MEMBER {quoted};" for role in _ROLES),
        )
    )


def refused_address(message: str) -> str | None:
    """The address that the server's firewall refused, by the message of error 40615."""
    found = _NOT_ALLOWED.search(message)
    return found[1] if found else None


def firewall_rule(subscription: str, group: str, server: str) -> str:
    """The path of the rule that lets this machine in."""
    return (
        f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Sql/servers/"
        f"{server}/firewallRules/{_RULE}?api-version={_API_VERSION}"
    )


@contextmanager
def reachable(
    url: str, token: Callable[[], str], resources: Api, rule: str, *, seconds: float = 10
) -> Iterator[None]:
    """Let this machine through the server's firewall, if need be, and for as long as need be.

    Args:
        url: Of the database.
        token: Gives an access token for it.
        resources: Azure Resource Manager.
        rule: Path of the rule that is made there, and removed again.
        seconds: How long to wait between attempts; a rule takes minutes to be heeded.

    Raises:
        HookError: The server does not answer, or not even with the rule.
    """
    address = _refused(url, token)
    if address is None:
        yield
        return
    body = {"properties": {"startIpAddress": address, "endIpAddress": address}}
    resources.send("PUT", rule, body)
    try:
        wait_for(
            "a way through the firewall",
            lambda: True if _refused(url, token) is None else None,
            tries=30,
            seconds=seconds,
        )
        yield
    finally:
        resources.send("DELETE", rule)


def execute(url: str, token: Callable[[], str], statements: str) -> None:
    """Run statements, each for itself."""
    engine = Server(make_url(url), token).engine("AUTOCOMMIT", 1)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statements)
    finally:
        engine.dispose()


def _refused(url: str, token: Callable[[], str]) -> str | None:
    """Connect, and give the address that the firewall refused."""
    try:
        execute(url, token, "SELECT 1")
    except DBAPIError as error:
        address = refused_address(str(error.orig))
        if address is None:
            raise HookError(f"The database cannot be reached from here: {error.orig}") from error
        return address
    return None


if __name__ == "__main__":
    try:
        main()
    except (HookError, StoreUnavailableError, ClientAuthenticationError) as error:
        sys.exit(str(error))
