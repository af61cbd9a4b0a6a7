"""Identity in data partitions: what has the same UID in two of them is not the same."""

from urllib.parse import quote

from shared.fhir.resource import Identifier, Resource
from shared.fhir.rules import MappingRules


def uid_key(partition_name: str, uid: str, rules: MappingRules) -> Identifier:
    """What a study or document is found by: its UID, and the partition if it is not the default."""
    if partition_name == rules.default_partition:
        return Identifier.of_uid(uid)
    value = f"{quote(partition_name, safe='')}|{uid}"
    return Identifier(partition_system(rules), quote(value, safe=""))


def is_known_by(resource: Resource, key: Identifier, rules: MappingRules) -> bool:
    """Whether a resource has an identifier: to the letter, as servers may search without case.

    A study of another partition has its UID beside its key, and is not known by it.
    """
    found = {(one.get("system"), one.get("value")) for one in resource.get("identifier", ())}
    special = partition_system(rules)
    return (key.system, key.value) in found and (
        key.system == special or not any(system == special for system, _ in found)
    )


def partition_system(rules: MappingRules) -> str:
    """The namespace of what is found by its partition too."""
    return f"{rules.dicomweb_url}/partition"
