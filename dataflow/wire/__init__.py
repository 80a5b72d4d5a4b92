"""Translation by descriptors: protobuf to core and back, protobuf to JSON and back.

A field added to a message and to its dataclass of the same name needs no third place.
"""
