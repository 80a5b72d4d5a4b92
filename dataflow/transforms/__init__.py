"""What happens to rows between a source and a sink, against the public contract alone."""
