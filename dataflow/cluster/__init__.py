"""Ownership: who holds which shard, the aggregates in it, and the runs of their pipelines."""
