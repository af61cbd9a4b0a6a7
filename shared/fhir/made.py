"""The resources that are made beside the main one of a study."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.fhir.pruning import prune
from shared.fhir.resource import Proposed


@dataclass(slots=True)
class Made:
    """Resources by what stands for them; of several with one key the richest is kept."""

    found: dict[str, Proposed] = field(default_factory=dict)

    def add(self, proposed: Sequence[Proposed]) -> None:
        """Add resources."""
        for one in proposed:
            held = self.found.get(one.full_url)
            if held is None or _rank(one) > _rank(held):
                self.found[one.full_url] = one

    def of_type(self, *types: str) -> Sequence[Proposed]:
        """Those of some types, by type and what stands for them."""
        chosen = (one for one in self.found.values() if one.type in types)
        return sorted(chosen, key=lambda one: (one.type, one.full_url))


def _rank(one: Proposed) -> tuple[int, str]:
    """How much a resource says; of two that say as much, any, but always the same."""
    return len(one.resource), str(prune(one.resource))
