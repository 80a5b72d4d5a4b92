"""Kafka: a source of topics, and a sink whose transactions hold their own decision."""
