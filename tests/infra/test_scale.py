"""Instances, their connections and what the database bears fit together."""

from collections.abc import Mapping

from tests.infra import bicep
from tests.infra.bicep import INFRA

PARAMETERS = bicep.parameters(INFRA / "main.bicep")

WORKERS_OF_A_VCORE = {"GP_S_Gen5": 75, "GP_Gen5": 100}
"""Requests at once, by kind of compute.

Source: "Resource limits for single databases using the vCore purchasing model".
"""
MOST_SESSIONS = 30_000
RESERVED = 0.1
"""The part of the database's workers that is left to people, migrations and the service itself."""


def default(name: str) -> bicep.Value:
    value = PARAMETERS[name].value
    assert value is not None
    return value


def number(of: bicep.Value, name: str) -> int:
    assert isinstance(of, Mapping)
    value = of[name]
    assert isinstance(value, int)
    return value


def database_workers() -> int:
    sku = default("sqlSku")
    assert isinstance(sku, Mapping)
    return WORKERS_OF_A_VCORE[str(sku["name"])] * number(sku, "capacity")


def test_the_database_bears_all_connections_of_all_instances() -> None:
    pool = default("sqlPoolSize")
    assert isinstance(pool, int)
    connections = number(default("scale"), "maximumInstanceCount") * pool
    assert connections <= database_workers() * (1 - RESERVED)
    assert connections <= MOST_SESSIONS


def test_an_instance_has_a_connection_for_a_good_part_of_its_requests() -> None:
    pool = default("sqlPoolSize")
    assert isinstance(pool, int)
    # A request holds a connection for a few milliseconds of its time: one for every four will do.
    assert number(default("scale"), "httpConcurrency") <= 4 * pool


def test_somebody_is_always_there_to_answer() -> None:
    scale = default("scale")
    assert isinstance(scale, Mapping)
    ready = number(scale["alwaysReady"], "http")
    assert 1 <= ready <= number(scale, "maximumInstanceCount")
