"""Instances without pixel data, encoded anew in Explicit VR Little Endian.

Standard: PS3.10 7.1, PS3.5 A.2 (2025b).
"""

from copy import deepcopy
from io import BytesIO

from pydicom import Dataset, dcmwrite
from pydicom.uid import UID

from shared.dicom.composition import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from shared.dicom.preamble import harmless
from shared.dicom.pydicom_reading import PYDICOM_ERRORS
from shared.dicom.quiet import quiet
from shared.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from shared.errors import NotAcceptableError


def reencode(dataset: Dataset) -> bytes:
    """A data set with its file meta information as a file that is no program.

    Raises:
        NotAcceptableError: It has values whose byte order pydicom does not know to change, or
            others that cannot be encoded anew.
    """
    if not transfer_syntax(str(dataset.file_meta.TransferSyntaxUID)).is_little_endian:
        raise NotAcceptableError("An instance in big endian is encoded anew only with its pixels.")
    buffer = BytesIO()
    try:
        with quiet():
            meta = deepcopy(dataset.file_meta)
            meta.TransferSyntaxUID = UID(EXPLICIT_VR_LITTLE_ENDIAN)
            meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
            meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
            encoded = Dataset(dataset)
            encoded.file_meta = meta
            encoded.preamble = getattr(dataset, "preamble", None) or bytes(128)
            dcmwrite(buffer, encoded, implicit_vr=False, little_endian=True)
    except PYDICOM_ERRORS as error:
        raise NotAcceptableError("An attribute of the instance cannot be encoded anew.") from error
    return b"".join(harmless(buffer.getvalue()))
