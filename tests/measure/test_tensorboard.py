"""A TensorBoard server on a trace that the test made: its profiler plugin answers for it."""

import gzip
import json
import subprocess
import sys
import time
from collections import Counter
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

from s2mlp_cli.measure.tracing.writing import STEPS, trace_case
from tests.tiny import case as make_case

pytest.importorskip("tensorboard")

OPENER = build_opener(ProxyHandler({}))
# Seconds that a busy machine may take until the plugin has read the trace.
START = 120


class Server:
    """What the plugin's own page asks, asked without the page."""

    def __init__(self, process, address):
        self.process, self.address = process, address

    def ask(self, path, **query):
        url = f"{self.address}data/plugin/pytorch_profiler/{path}?{urlencode(query)}"
        with OPENER.open(url, timeout=30) as answer:
            packed = answer.read()
            return json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)


@pytest.fixture(scope="module")
def server(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    trace_case(make_case(tiny, batch_size=2), "slice", folder / "tiny slice")
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0"]
    log = folder.parent / "tensorboard.log"
    with open(log, "w") as stream, subprocess.Popen(words, stderr=stream) as process:
        try:
            yield wait_for(process, log)
        finally:
            process.terminate()


def wait_for(process, log):
    """Return the server once it has an address and has read the trace."""
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.2)
        address = [word for word in log.read_text().split() if word.startswith("http://localhost:")]
        if not address:
            continue
        server = Server(process, address[0])
        try:
            runs = server.ask("runs")
        except URLError:
            continue
        if runs["runs"] and not runs["loading"]:
            return server
    pytest.fail(f"tensorboard read no trace in {START} s: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def where(server):
    """The run, worker and span that every view asks for."""
    run = server.ask("runs")["runs"][0]
    worker = server.ask("workers", run=run, view="Operator")[0]
    spans = server.ask("spans", run=run, worker=worker)
    return {"run": run, "worker": worker, "span": spans[0] if spans else ""}


def test_the_run_is_listed_with_its_views_worker_and_span(server, where):
    assert server.ask("runs")["runs"] == ["tiny slice"]
    assert {"Overview", "Operator", "Trace", "Memory", "Module"} <= set(
        server.ask("views", run="tiny slice")
    )
    assert where == {"run": "tiny slice", "worker": "s2mlp", "span": "1"}


def test_the_table_of_operators_counts_the_calls(server, where):
    table = server.ask("operation/table", **where, view="Operator", group_by="Operation")
    calls = {row["name"]: row["calls"] for row in table["data"]}
    assert calls["aten::linear"] == STEPS * (3 * 6 + 1)
    assert all(row["host_total_duration"] >= row["host_self_duration"] for row in table["data"])


def test_the_modules_of_the_model_stand_in_their_tree(server, where):
    (model,) = server.ask("module", **where, view="Module")["data"]
    assert (model["name"], model["occurences"]) == ("S2MLP_0", STEPS)
    assert model["host_duration"] > model["self_host_duration"] > 0


def test_the_named_scopes_are_in_the_trace_that_it_serves(server, where):
    events = server.ask("trace", **where, view="Trace")["traceEvents"]
    named = Counter(event["name"] for event in events if event.get("cat") == "user_annotation")
    assert named["model"] == STEPS
    for scope in ("stages.0", "stages.1.blocks.0.mixer", "stages.1.blocks.0.mixer.shift"):
        assert named[scope] == STEPS, named
