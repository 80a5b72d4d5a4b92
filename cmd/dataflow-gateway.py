"""Start the API of a cluster, as the installed program ``dataflow-gateway`` does."""

from dataflow.app.gateway_program import main

if __name__ == "__main__":
    main()
