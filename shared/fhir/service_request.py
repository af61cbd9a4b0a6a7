"""ServiceRequests by accession numbers: who has asked for a study (PS3.3 C.4.11, 2025b)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.fhir.coding import concept
from shared.fhir.data_set import DataSet
from shared.fhir.identifier import accession, typed
from shared.fhir.pruning import prune
from shared.fhir.reference import literal
from shared.fhir.resource import Identifier, Proposed, Resource
from shared.fhir.rules import MappingRules, OrderRule


@dataclass(frozen=True, slots=True)
class Order:
    """An order that a study fulfils.

    Attributes:
        number: Its identifier; only its number where the system is not known.
        item: What a data set says of it: an item of Request Attributes Sequence, or itself.
    """

    number: Identifier | Resource
    item: DataSet

    @property
    def identifier(self) -> Resource:
        """Its accession number as an identifier."""
        return typed(self.number, "ACSN") if isinstance(self.number, Identifier) else self.number

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from others: two issuers may give one number."""
        return self.identifier["value"], self.identifier.get("system", "")

    def reference(self, made: Sequence[Proposed]) -> Resource:
        """Refer to it: by its number, and by the resource where one is made."""
        found: Resource = {"type": "ServiceRequest", "identifier": self.identifier}
        return {**literal(made[0].full_url), **found} if made else found


def orders(data_sets: Sequence[DataSet], rules: MappingRules) -> Sequence[Order]:
    """The orders that some data sets name, each once, by number.

    Where there are requests with accession numbers of their own, the study's does not count.
    """
    items = [item for one in data_sets for item in one.items("RequestAttributesSequence")]
    found = _by_name(items, rules) or _by_name(data_sets, rules)
    return [found[name] for name in sorted(found)]


def _by_name(data_sets: Sequence[DataSet], rules: MappingRules) -> Mapping[tuple[str, str], Order]:
    found: dict[tuple[str, str], Order] = {}
    for one in data_sets:
        number = accession(one, rules)
        if number is not None:
            order = Order(number, one)
            found.setdefault(order.name, order)
    return found


def map_service_request(
    order: Order, subject: Resource, root: DataSet, rules: MappingRules
) -> Sequence[Proposed]:
    """The ServiceRequest of an order, where a site wants it made and its number has a system.

    None is made for somebody who is only named: no other study could be told to be of it.
    """
    is_made = rules.orders is OrderRule.CREATE and "reference" in subject
    if not is_made or not isinstance(order.number, Identifier):
        return ()
    code = concept(order.item.item("RequestedProcedureCodeSequence"), rules.scheme_systems, root)
    description = order.item.text("RequestedProcedureDescription")
    resource = prune(
        {
            "resourceType": "ServiceRequest",
            "identifier": [order.identifier],
            # The archive sees what was done, and not how the order stands.
            "status": "unknown",
            "intent": "order",
            "code": code or {"text": description},
            "subject": subject,
        }
    )
    return (Proposed(order.number, resource),)
