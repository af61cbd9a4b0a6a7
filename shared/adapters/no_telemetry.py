"""Telemetry where nobody asks for any."""

from collections.abc import Mapping

from shared.telemetry import Fact, Measure, Telemetry


class NoTelemetry(Telemetry):
    """Costs nothing, and tells nothing."""

    def trace(self, name: str, caller: str | None = None) -> None:
        """See Telemetry."""

    def measure(
        self, measure: Measure, amount: float, facts: Mapping[str, Fact] | None = None
    ) -> None:
        """See Telemetry."""

    def close(self) -> None:
        """See Telemetry."""
