"""DataFlow Platform: durable, auditable, exactly-once data pipelines."""
