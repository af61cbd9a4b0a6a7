import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels.processing import apply_windowing

from shared.dicom.pixels.window import VoiFunction, Window
from shared.errors import InvalidQueryError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40,400", Window(40, 400)),
        ("40.5,400,linear", Window(40.5, 400)),
        ("-1,0.5,linear-exact", Window(-1, 0.5, VoiFunction.LINEAR_EXACT)),
        (" 1 , 2 , SIGMOID ", Window(1, 2, VoiFunction.SIGMOID)),
    ],
)
def test_a_window_is_read_from_its_parameter(text: str, expected: Window) -> None:
    assert Window.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "40", "40,x", "40,400,cubic", "40,0", "1,0.5", "nan,4", "1,inf", "1,2,linear,3"]
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError):
        Window.parse(text)


@pytest.mark.parametrize("function", list(VoiFunction))
@pytest.mark.parametrize(("center", "width"), [(127, 200), (10, 1), (300, 1000.5)])
def test_windows_are_those_of_pydicom(function: VoiFunction, center: float, width: float) -> None:
    dataset = Dataset()
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsStored, dataset.VOILUTFunction = 10, function.value
    dataset.WindowCenter, dataset.WindowWidth = center, width
    values = np.arange(1024)
    if function is VoiFunction.LINEAR and width == 1:
        expected = (values > center - 0.5) * 1023.0
    else:
        expected = apply_windowing(values, dataset)
    shown = Window(center, width, function).apply(values) * 1023
    assert np.allclose(shown, expected, atol=1e-6)


def test_a_sigmoid_far_from_its_center_does_not_overflow() -> None:
    shown = Window(0, 0.001, VoiFunction.SIGMOID).apply(np.array([-1e9, 1e9]))
    assert shown == pytest.approx([0, 1])
