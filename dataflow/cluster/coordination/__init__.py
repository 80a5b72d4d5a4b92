"""Where nodes find each other: leases, keys that live as long as a lease, transactions, watches."""
