"""Properties that hold of any example."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy


def for_any(
    examples: int, **strategies: SearchStrategy[object]
) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Check a property on that many examples, which is slow, and on a fifth of them, which is not.

    The test is one of pytest that runs Hypothesis, for the marks of a parameter are pytest's.
    """

    def decorate(check: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize(
            "examples", [examples // 5, pytest.param(examples, marks=pytest.mark.slow)]
        )
        def test(examples: int) -> None:
            settings(max_examples=examples, deadline=None)(given(**strategies)(check))()

        test.__doc__ = check.__doc__
        return test

    return decorate
