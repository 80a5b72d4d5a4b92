"""What the platform costs and carries, measured beside others on the same machine."""
