"""Start one node of a cluster, as the installed program ``dataflow-node`` does."""

from dataflow.app.node_program import main

if __name__ == "__main__":
    main()
