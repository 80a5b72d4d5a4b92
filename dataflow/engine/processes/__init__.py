"""Worker processes: rows, connectors and their drivers outside the process that keeps the lease.

A node (``pool.Processes``) begins each as a program of its own and speaks to it over a socket
pair: what owner and worker say, and a few questions each way, as messages of ``worker.proto``.
Whichever end dies, the other sees its end of the socket close.
"""
