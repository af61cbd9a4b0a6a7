"""The function app: keeps the logs private, and registers the blueprints."""

import os

import azure.durable_functions as df
import azure.functions as func

from durable import export as export_workflow
from durable import fhir_export, fhir_sync, reindex
from durable import update as update_workflow
from functions import (
    bulk_update,
    bulkdata,
    capabilities,
    change_feed,
    delete,
    export,
    extended_query_tags,
    fhir,
    health,
    ingest,
    metadata,
    operations,
    partitions,
    rendered,
    restore,
    retrieve,
    search,
    store,
    timers,
    uploads,
)
from shared import logs, wiring
from shared.settings import demands_function_keys

logs.keep_private()

app = df.DFApp(
    http_auth_level=func.AuthLevel.FUNCTION
    if demands_function_keys(os.environ)
    else func.AuthLevel.ANONYMOUS
)
for module in (
    bulk_update,
    bulkdata,
    capabilities,
    change_feed,
    delete,
    export,
    export_workflow,
    extended_query_tags,
    fhir,
    fhir_export,
    fhir_sync,
    health,
    metadata,
    operations,
    partitions,
    reindex,
    rendered,
    restore,
    retrieve,
    search,
    store,
    timers,
    update_workflow,
    uploads,
):
    app.register_functions(module.blueprint)
app.register_functions(ingest.blueprint(wiring.inbox_source().value))
