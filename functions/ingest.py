"""Ingestion of files that arrive in the inbox, and what the clock does for it."""

from datetime import UTC, datetime

import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient

from shared import wiring
from shared.runs import observed_run


def blueprint(source: str) -> func.Blueprint:
    """The functions, with a trigger that learns of new files by `source`, one of BlobSource."""
    built = func.Blueprint()

    # As a client, not as bytes: of a file of any size only the name travels.
    @built.function_name("ingest")
    @built.blob_trigger(
        arg_name="file",
        path=f"{wiring.INBOX}/{{name}}",
        connection="DATA_STORAGE",
        source=func.BlobSource(source),
    )
    async def ingest(file: BlobClient) -> None:
        """Take a new file into the archive; what is raised lets the host try again."""
        services = wiring.services()
        with file, observed_run(services.telemetry, "ingest") as run:
            result = await services.ingestion.ingest(file.blob_name)
            if result is not None:
                run.did(partition=result.partition_name, status=result.status.value)
            if result is not None and result.path is not None:
                path = result.path
                run.did(study=path.study, series=path.series, instance=path.instance)

    @built.function_name("timer_ingest_overlooked")
    @built.timer_trigger(arg_name="timer", schedule="30 */5 * * * *")
    async def ingest_overlooked(timer: func.TimerRequest) -> None:  # noqa: ARG001
        """Take in the files whose event was lost, or that were given up in an outage."""
        services = wiring.services()
        with observed_run(services.telemetry, "timer_ingest_overlooked") as run:
            run.did(files=await services.ingestion.ingest_overlooked(datetime.now(UTC)))

    @built.function_name("timer_forget_ingest_results")
    @built.timer_trigger(arg_name="timer", schedule="0 41 3 * * *")
    async def forget_results(timer: func.TimerRequest) -> None:  # noqa: ARG001
        """Forget what became of files long ago."""
        services = wiring.services()
        with observed_run(services.telemetry, "timer_forget_ingest_results") as run:
            before = datetime.now(UTC) - services.settings.inbox_result_seconds
            run.did(results=await services.ingest_results.forget(before))

    return built
