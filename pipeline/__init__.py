"""Tallymark: CloudEvents in, exact usage, balances and alerts out.

Layers, each of which may import the ones below it (import-linter checks it):

    cli                 the `tallymark` commands
    contracts           files generated from the code: schemas, OpenAPI, lists of metrics
    local, worker       the stack on one machine; one process with one stage
    agents, api         stages (Faust agents); HTTP
    stores              Kafka, ClickHouse, Redis, webhook endpoints: one external system each
    core, engine        pure rules; exactly-once chunks
    records, settings   the records on topics; the configuration

The same subject word (metering, quota, notifications, customers, catalog, access) names a folder in core, api and
cli. Start reading at `stages.py` and then `agents/ingest.py`: each stage is one file, in the order of the flow.
"""
