"""A node whose dead letters lie in a bucket: nothing that another node needs is on its disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.app.settings import Settings
from dataflow.app.standalone import node
from dataflow.core import commands as c
from dataflow.core.errors import Unavailable
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine.records import EVERY
from deploy.stack import s3 as server
from tests.integration.app.test_node import P, ask, ended

OPTIONS = '{"schema": {"a": "int64"}, "onError": "dead-letter"}'


def settings_for(address: str, tmp_path: Path, bucket: str, workers: int = 0) -> Settings:
    """Return the settings of a node over the machine's S3 server."""
    return Settings.model_validate(
        {
            "data_dir": tmp_path / "data",
            "workers": workers,
            "object_store": f"s3://{bucket}/{tmp_path.parts[-3]}/{tmp_path.parts[-2]}",
            "s3_endpoint": f"http://{address}",
            "s3_region": server.REGION,
            "s3_access_key_id": server.ACCESS_KEY,
            "s3_secret_access_key": server.SECRET_KEY,
        }
    )


@pytest.mark.parametrize("workers", [0, 1])
async def test_dead_letters_are_kept_in_the_bucket(workers: int, s3: str, tmp_path: Path) -> None:
    """A worker process has the same access, and nobody else hears of it."""
    (tmp_path / "in.csv").write_text("a\n1\nbad\n")
    spec = PipelineSpec(
        source=Source("file", str(tmp_path / "in.csv"), options=OPTIONS),
        sink=Sink("file", str(tmp_path / "out.csv")),
    )
    settings = settings_for(s3, tmp_path, server.BUCKET, workers)
    async with node(settings) as served:
        await ask(served, c.CreatePipeline(canonical(spec)), c.StartPipeline())
        assert (await ended(served)).reason == "completed"
        letters, count, _ = await served.dead_letters(P, "", 10, EVERY)
    assert ([letter.record for letter in letters], count) == (["bad"], 1)
    assert not (tmp_path / "data" / "objects").exists()


async def test_a_node_does_not_start_over_a_bucket_that_is_not_there(
    s3: str, tmp_path: Path
) -> None:
    """The operator is told at once, not when the first record is bad."""
    with pytest.raises(Unavailable, match=r"NoSuchBucket.*make the bucket"):
        async with node(settings_for(s3, tmp_path, "no-such-bucket")):
            pass
