"""What can go wrong with a server, by who has to act."""


class Missing(RuntimeError):
    """This machine cannot have the server: a tool is absent, or the download or build failed.

    Tests that need the server are skipped with this reason; with ``CI=true`` they fail.
    """


class PortTaken(RuntimeError):
    """Somebody else listens on the server's port: stop that, or choose another port."""


class NotReady(RuntimeError):
    """It ended, or did not get ready in time; the message ends with its log."""
