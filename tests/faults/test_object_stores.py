"""Reads tables from moto, which answers as Amazon S3 does, over connections that fail.

A campaign, which a bare `pytest` does not collect: `pytest -s tests/faults/test_object_stores.py`.
It needs `pip install 'moto[s3]' flask flask-cors` in an environment of its own, because botocore
refuses the python-dateutil that the other tests are run with.
"""

from __future__ import annotations

import gzip
import io
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator

import boto3
import numpy as np
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer

from linreg_lightning import InputError
from linreg_lightning.tables.dataset import TableDataset

ROWS = 200_000
SECONDS = 150  # in which a read must end
FAULTS = ("closes", "resets", "falls silent")


class Proxy:
    """Passes bytes on, and breaks `times` reads of big files after some bytes in one of FAULTS."""

    def __init__(self, port: int, fault: str, times: int) -> None:
        self._port, self._fault, self._times = port, fault, times
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            store = socket.create_connection(("127.0.0.1", self._port))
            breaks = threading.Event()
            for pump in (self._pass_requests, self._pass_answers):
                threading.Thread(target=pump, args=(client, store, breaks), daemon=True).start()

    def _pass_requests(
        self, client: socket.socket, store: socket.socket, breaks: threading.Event
    ) -> None:
        try:
            while data := client.recv(2**16):
                breaks.clear()
                if re.match(rb"GET \S*big", data) and self._times > 0:
                    self._times -= 1
                    breaks.set()
                store.sendall(data)
        except OSError:
            pass
        store.close()

    def _pass_answers(
        self, client: socket.socket, store: socket.socket, breaks: threading.Event
    ) -> None:
        passed = 0
        try:
            while data := store.recv(2**14):
                passed = passed + len(data) if breaks.is_set() else 0
                if passed > 20_000:
                    if self._fault == "falls silent":
                        time.sleep(2 * SECONDS)
                    if self._fault == "resets":
                        linger = struct.pack("ii", 1, 0)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    else:
                        client.shutdown(socket.SHUT_RDWR)
                    break
                client.sendall(data)
        except OSError:
            pass
        client.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        _, port = server.get_host_and_port()
        endpoint = f"http://127.0.0.1:{port}"
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        x = np.random.default_rng(0).normal(size=ROWS)
        frame = pd.DataFrame({"x": x, "y": 2 * x})
        parquet, text = io.BytesIO(), frame.to_csv(index=False).encode()
        frame.to_parquet(parquet, row_group_size=50_000)
        objects = {
            "big.csv": text,
            "big.csv.gz": gzip.compress(text, 1),
            "big.parquet": parquet.getvalue(),
            "h/g=u/p.csv": b"x\n1.5\n",
            "h/g=New%20York/p.csv": b"x\n2.5\n",
        }
        for key, content in objects.items():
            client.put_object(Bucket="bucket", Key=key, Body=content)
        yield port
        server.stop()


def column(key: str, port: int, name: str) -> list[object]:
    options = f"scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
    dataset = TableDataset([f"s3://bucket/{key}?{options}"])
    chunks = dataset.read({name: dataset.schema.field(name).type}, 5000)
    return [value for chunk in chunks for value in chunk.table.column(name).to_pylist()]


@pytest.mark.parametrize("key", ["h", "h/*/*.csv", "h/g=*", "h/**"])
def test_partitions_and_patterns_are_found(key: str, port: int) -> None:
    assert column(key, port, "g") == ["New York", "u"]
    assert column("h/g=New%20York", port, "g") == ["New York"]


@pytest.mark.parametrize("key", ["absent.csv", "absent/*", "big.csv/x"])
def test_an_absent_key_is_named(key: str, port: int) -> None:
    with pytest.raises(InputError, match=r"there is no file|matches no file"):
        column(key, port, "x")


@pytest.mark.parametrize("key", ["big.csv", "big.csv.gz", "big.parquet"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [1, 10**9])
def test_all_rows_or_one_line(key: str, fault: str, times: int, port: int) -> None:
    expected = column(key, port, "x")
    assert len(expected) == ROWS
    start = time.monotonic()
    try:
        assert column(key, Proxy(port, fault, times).port, "x") == expected
        outcome = "all rows"
    except InputError as error:
        outcome = str(error)
        assert times > 1
        assert "connection to its store failed" in outcome
        assert "\n" not in outcome
    seconds = time.monotonic() - start
    print(f"{key}, {fault}, {times} times: {seconds:.0f} s, {outcome[:100]}")
    assert seconds < SECONDS
