"""The rules: pure functions and state machines over plain data.

Nothing here does I/O, reads a clock, draws a random number, or knows Arrow, protobuf or asyncio:
time, randomness and new ids are arguments. Loops in the packages above carry decisions out.
"""
