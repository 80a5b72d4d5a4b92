"""Durable, auditable, exactly-once data pipelines, from one process to a cluster."""
