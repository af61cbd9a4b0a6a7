"""The colour profile of a rendered image.

Standard: PS3.18 8.3.5.1.5, PS3.3 C.11.15 (2025b).
"""

from enum import StrEnum
from io import BytesIO
from typing import cast

from PIL import Image, ImageCms
from pydicom import Dataset

from shared.errors import InvalidQueryError, NotAcceptableError


class IccProfile(StrEnum):
    """The query parameter `iccprofile`; other colour spaces of the Standard are not served."""

    NO = "no"
    YES = "yes"
    SRGB = "srgb"

    @classmethod
    def parse(cls, text: str) -> "IccProfile":
        """Read the query parameter.

        Raises:
            InvalidQueryError: It is none that is served.
        """
        try:
            return cls(text.strip().lower())
        except ValueError as error:
            raise InvalidQueryError(
                "The parameter iccprofile is none of no, yes and srgb."
            ) from error


def with_profile(image: Image.Image, dataset: Dataset, asked: IccProfile) -> Image.Image:
    """Give an image the profile asked for, converting its colours to sRGB where that is asked.

    An image whose data set has no profile counts as sRGB. Shades of grey have none.

    Raises:
        NotAcceptableError: The profile of the data set is damaged.
    """
    if asked is IccProfile.NO or image.mode != "RGB":
        return image
    stored = _stored(dataset)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    if stored is None or asked is IccProfile.SRGB:
        if stored is not None:
            image = _convert(image, stored, srgb)
        stored = srgb.tobytes()
    image.info["icc_profile"] = stored
    return image


def _convert(image: Image.Image, stored: bytes, to: ImageCms.ImageCmsProfile) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(stored))
        return cast(Image.Image, ImageCms.profileToProfile(image, source, to))
    except (ImageCms.PyCMSError, OSError) as error:
        raise NotAcceptableError("The colour profile of the image is damaged.") from error


def _stored(dataset: Dataset) -> bytes | None:
    holders = [dataset, *(dataset.get("OpticalPathSequence") or ())]
    profiles = (holder.get("ICCProfile") for holder in holders)
    return next((profile for profile in profiles if isinstance(profile, bytes) and profile), None)
