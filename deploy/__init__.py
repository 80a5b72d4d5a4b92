"""What runs where: the servers that a cluster needs, and the cluster itself."""
