import warnings

import pytest

from shared.dicom.quiet import quiet


def test_warnings_are_heard_again_afterwards() -> None:
    with quiet(), quiet():
        warnings.warn("a value", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
