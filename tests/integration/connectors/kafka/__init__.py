"""The Kafka source and sink on the real broker."""
