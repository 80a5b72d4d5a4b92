"""The data plane: tasks that read, transform and write batches, and close checkpoints."""
