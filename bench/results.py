"""What was measured, and the table that tells it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.workload import Metric

OURS = "ours"


@dataclass(slots=True)
class Results:
    """The values of each metric on each server, one a round."""

    servers: Sequence[str]
    values: dict[Metric, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, None] = field(default_factory=dict)

    def add(self, metric: Metric, server: str, value: float) -> None:
        self.values.setdefault(metric, {}).setdefault(server, []).append(value)

    def fail(self, reason: str) -> None:
        """Note, once, why something was not measured."""
        self.failures[reason] = None

    def table(self) -> str:
        """One line a metric: the median on each server and of the rounds' ratios, and the aim."""
        headings = ["metric", "unit", *self.servers]
        if self._other:
            headings += ["ratio", "of rounds", "aim", ""]
        lines = [headings, *(self._line(metric) for metric in self.values)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_aligned(line, widths) for line in lines)

    def as_dict(self) -> dict[str, dict[str, list[float]]]:
        """The values of every round, for a machine to read."""
        return {metric.name: by_server for metric, by_server in self.values.items()}

    @property
    def _other(self) -> str | None:
        return next((name for name in self.servers if name != OURS), None)

    def _line(self, metric: Metric) -> list[str]:
        values = self.values[metric]
        line = [metric.name, metric.unit]
        line += [f"{median(values[name]):.1f}" if name in values else "-" for name in self.servers]
        return line + (list(self._comparison(metric)) if self._other else [])

    def _comparison(self, metric: Metric) -> Iterator[str]:
        ratios = self._ratios(metric)
        ratio = median(ratios) if ratios else None
        yield "-" if ratio is None else f"{ratio:.2f}"
        yield f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "-"
        yield "" if metric.aim is None else f">= {metric.aim:g}"
        is_missed = ratio is not None and metric.aim is not None and ratio < metric.aim
        yield "missed" if is_missed else ""

    def _ratios(self, metric: Metric) -> list[float]:
        """How many times better we are, a round."""
        ours = self.values[metric].get(OURS, ())
        theirs = self.values[metric].get(self._other or "", ())
        pairs = zip(ours, theirs, strict=False)
        return [them / us if metric.is_latency else us / them for us, them in pairs]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    texts = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
    numbers = [text.rjust(width) for text, width in zip(line[2:], widths[2:], strict=True)]
    return "  ".join((*texts, *numbers)).rstrip()
