"""Start the whole platform in one process, as the installed program ``dataflow`` does."""

from dataflow.app.standalone import main

if __name__ == "__main__":
    main()
