"""Composition: the only place that names a concrete connector, store or driver."""
