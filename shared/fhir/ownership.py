"""The mark of resources that the app has made: others belong to somebody else."""

from shared.fhir.resource import Resource
from shared.fhir.rules import MappingRules

_CODE = "dicomweb"


def mark(resource: Resource, partition_name: str, rules: MappingRules) -> Resource:
    """The same, marked as made from the data of a partition."""
    meta = {
        **resource.get("meta", {}),
        "source": rules.service_url(partition_name),
        "tag": [{"system": rules.dicomweb_url, "code": _CODE}],
    }
    return {"resourceType": resource["resourceType"], "meta": meta, **_rest(resource)}


def is_ours(resource: Resource, rules: MappingRules) -> bool:
    """Whether a resource was made by the app."""
    tags = resource.get("meta", {}).get("tag", ())
    return any(tag.get("system") == rules.dicomweb_url and tag.get("code") == _CODE for tag in tags)


def _rest(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name not in ("resourceType", "meta")}
