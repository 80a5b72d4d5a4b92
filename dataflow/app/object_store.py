"""The object store that the settings name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from dataflow.app.settings import Settings
from dataflow.core.errors import Rejected
from dataflow.engine.object_place import Access
from dataflow.engine.objects import Objects


def objects_of(settings: Settings) -> Objects:
    """Return the store; a bucket is not asked for yet.

    Raises:
        Rejected: ``object_store`` is no address.
        Unavailable: the folder cannot be made or used.
    """
    url = settings.object_store
    if not url:
        return Objects.local(settings.data_dir / "objects")
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path:
            raise Rejected(f"{url!r} is no file:///path", field="object_store")
        return Objects.local(Path(unquote(parts.path)))
    access = Access(
        settings.s3_endpoint,
        settings.s3_region,
        settings.s3_access_key_id,
        settings.s3_secret_access_key.get_secret_value(),
    )
    return Objects.bucket(url, access)
