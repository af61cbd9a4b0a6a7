"""What stands for UIDs, patients and dates: the same for the same, as long as there is the key.

Whoever has not the key can neither tell what a pseudonym stands for, nor make it.
"""

import hashlib
import hmac
from datetime import datetime, timedelta

from shared.dicom.deidentification.moments import parts

_MOST_DAYS = 3650
_WELL_KNOWN_UIDS = "1.2.840.10008."
"""The Standard's own, which name no object of anybody's."""


class Pseudonyms:
    """Pseudonyms by a secret key, of at least 32 random bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def uid(self, uid: str) -> str:
        """A UID derived from a UUID (PS3.5 B.2, 2025b)."""
        if not uid or uid.startswith(_WELL_KNOWN_UIDS):
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16])}"

    def patient(self, patient_id: str, issuer: str) -> str:
        """An ID for a patient, empty for one without."""
        if not patient_id:
            return ""
        return self._digest("patient", f"{patient_id}\\{issuer}")[:8].hex().upper()

    def shifted(self, value: str, patient_id: str, issuer: str) -> str | None:
        """A date, or a date and time, as many days earlier as all of its patient's.

        None for what is neither, or has more with it.
        """
        found = parts(value)
        if found is None:
            return None
        digest = self._digest("days", f"{patient_id}\\{issuer}")
        days = 1 + int.from_bytes(digest[:8]) % _MOST_DAYS
        try:
            moved = datetime.strptime(found[0], "%Y%m%d") - timedelta(days)  # noqa: DTZ007
        except (ValueError, OverflowError):
            return None
        return f"{moved.year:04}{moved:%m%d}{found[1]}"

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\\{text}".encode(), hashlib.sha256)
