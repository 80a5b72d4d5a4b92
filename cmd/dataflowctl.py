"""Start the command line, as the installed program ``dataflowctl`` does."""

from dataflow.cli.main import main

if __name__ == "__main__":
    main()
