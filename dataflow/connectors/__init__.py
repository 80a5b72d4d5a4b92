"""The systems that rows come from and go to: source, sink and lookup of one system together."""
