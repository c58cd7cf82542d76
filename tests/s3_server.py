"""A server of the S3 protocol on this machine, and fixtures for tests that use it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import count

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "the-key-id", "AWS_SECRET_ACCESS_KEY": "the-secret-key"}
"""Credentials, which no output may contain."""
_NUMBERS = count()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Serve S3 on a free port, and let this process and its children use it; return its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
            patch.delenv(name)
        settings = {
            **KEYS,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        for name, value in settings.items():
            patch.setenv(name, value)
        yield settings["AWS_ENDPOINT_URL"]
    server.stop()


@pytest.fixture
def bucket(s3: str) -> str:
    """The URL of an empty bucket."""
    import boto3

    name = f"bucket-{next(_NUMBERS)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
