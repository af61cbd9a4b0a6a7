"""The destinations of exports that the settings allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.export_folder_destination import FolderDestination
from shared.dicomweb.export_container import Authorization, BlobContainer
from shared.dicomweb.export_request import ExportFolder
from shared.errors import InvalidRequestError
from shared.ports import ExportDestination

if TYPE_CHECKING:
    from shared.adapters.azure_account import StorageAccount


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedDestinations:
    """What the settings allow.

    Attributes:
        hosts: Of blob services that may be written to, besides that of the data's own account.
        own: The data's storage account, None where data are in files.
        own_containers: The containers of it that have the data.
        folder: Below which folders may be written to, None where none may.
    """

    hosts: tuple[str, ...] = ()
    own: "StorageAccount | None" = None
    own_containers: Sequence[str] = ()
    allows_sas: bool = True
    allows_public_access: bool = True
    folder: Path | None = None
    client_id: str = ""
    sync: bool = True

    def open(self, operation_id: str, place: BlobContainer | ExportFolder) -> ExportDestination:
        """See ExportDestinations."""
        if isinstance(place, ExportFolder):
            return self._open_folder(operation_id, place)
        self._check(place)
        # The storage SDK is slow to import, and needed but here.
        from shared.adapters.export_blob_destination import BlobDestination  # noqa: PLC0415

        return BlobDestination(operation_id, place, client_id=self.client_id)

    def _open_folder(self, operation_id: str, place: ExportFolder) -> ExportDestination:
        if self.folder is None:
            raise InvalidRequestError("This service does not export to folders.")
        root = self.folder.resolve()
        folder = (root / place.path).resolve()
        # Also where a link leads out of it.
        if not folder.is_relative_to(root):
            raise InvalidRequestError("The folder is not one that exports are allowed in.")
        return FolderDestination(operation_id, folder, place.path, sync=self.sync)

    def _check(self, place: BlobContainer) -> None:
        if place.authorization is Authorization.SAS and not self.allows_sas:
            raise InvalidRequestError("Shared access signatures are not allowed for exports.")
        if place.authorization is Authorization.NONE and not self.allows_public_access:
            raise InvalidRequestError("Exports without authorization are not allowed.")
        is_own = self._is_own(place)
        if not is_own and not place.is_allowed_by(self.hosts):
            raise InvalidRequestError("The host of the destination is not allowed for exports.")
        if is_own and place.name in self.own_containers:
            raise InvalidRequestError("The container of the destination holds the archive.")

    def _is_own(self, place: BlobContainer) -> bool:
        if self.own is None:
            return False
        endpoint = self.own.blobs.primary_endpoint.partition("?")[0].rstrip("/")
        return BlobContainer(f"{endpoint}/any", place.authorization).service == place.service
