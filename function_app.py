"""The function app: registers the blueprints, and nothing else."""

import azure.functions as func

from functions import (
    bulkdata,
    capabilities,
    delete,
    health,
    metadata,
    rendered,
    retrieve,
    search,
    store,
    timers,
)

app = func.FunctionApp()
for module in (
    bulkdata,
    capabilities,
    delete,
    health,
    metadata,
    rendered,
    retrieve,
    search,
    store,
    timers,
):
    app.register_functions(module.blueprint)
