"""What the journal's events add up to, kept where it can be asked for.

Everything here follows from the journal and can be thrown away: it is built again from there.
"""
