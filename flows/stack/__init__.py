"""The embedded Prefect server, its workers and deployments."""
