"""Coordination by etcd 3.5 or later: a thin client of the few rpcs that the contract needs.

Members older than 3.5.28 and 3.6.9 have known faults in leases, watches and permissions
(etcd's CHANGELOG); this client is tested with 3.6.16.
"""
