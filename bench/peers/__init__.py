"""Programs that do the same work another way, each in an environment of its own."""
