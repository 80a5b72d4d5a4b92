"""The views in one SQLite file, written by one thread; a damaged or old file is built again."""

from dataflow.views.sqlite.views import Sqlite

__all__ = ["Sqlite"]
