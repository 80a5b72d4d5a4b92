"""Records whose schemas a registry keeps: Avro and Protobuf."""
