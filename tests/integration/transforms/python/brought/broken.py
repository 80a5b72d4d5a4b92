"""A module that needs another one."""

import no_such_package  # type: ignore[import-not-found]  # noqa: F401 - it is not there
