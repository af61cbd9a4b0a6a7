import io

import pydicom

from bench.data import FRAME_BYTES, StoreRequest, ct_series, multi_frame


def test_files_are_whole_dicom_files_of_the_length_they_tell() -> None:
    for file in (*ct_series(2, "1.2.3"), multi_frame(3, "1.2.3")):
        content = b"".join(file.pieces())
        assert len(content) == file.length
        read = pydicom.dcmread(io.BytesIO(content))
        assert (read.StudyInstanceUID, read.SOPInstanceUID) == ("1.2.3", file.instance)
        assert len(read.PixelData) == file.frames * FRAME_BYTES
        assert read.get("NumberOfFrames", 1) == file.frames


def test_slices_share_a_series_and_nothing_below_it() -> None:
    files = ct_series(3, "1.2.3")
    assert len({file.series for file in files}) == 1
    assert len({file.instance for file in files}) == 3


def test_a_store_request_has_the_length_it_tells_and_a_part_for_each_file() -> None:
    files = ct_series(3, "1.2.3")
    request = StoreRequest.of(files)
    body = b"".join(request.pieces())
    assert len(body) == request.length
    parts = body.split(f"--{request.boundary}".encode())[1:-1]
    assert [part.partition(b"\r\n\r\n")[2][:-2] for part in parts] == [
        b"".join(file.pieces()) for file in files
    ]
