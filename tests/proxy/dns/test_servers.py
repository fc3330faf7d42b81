"""What is served beside the resolver: health, readiness, metrics, as a Corefile asks for them."""

import os

import pytest
from pointsman.dns.corefile.files import read
from pointsman.dns.tally import Sample
from pointsman.proxy.dns.servers import State, address, build_info, process_samples, servers
from pointsman.proxy.servers import Question

TEXT = ".:53 {\n health\n ready :8080\n prometheus localhost:9153\n whoami\n}\nb.test:53 {\n prometheus localhost:9153\n whoami\n}\n"


@pytest.fixture
def corefile(tmp_path):
    (tmp_path / "Corefile").write_text(TEXT)
    return read(str(tmp_path / "Corefile")).must()


def answers(corefile, *, alive=True, unready=(), leaving=False):
    async def samples():
        return [Sample("coredns_panics_total", (), (3.0,))]

    state = State(lambda: alive, lambda: unready, lambda: leaving, samples)
    return {(server.address, path): answering for server in servers(corefile, state) for path, answering in server.paths.items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [(":8080", "[::]:8080"), ("localhost:9153", "127.0.0.1:9153"), ("10.0.0.1", "10.0.0.1:1"), ("[fd00::1]:9", "[fd00::1]:9")],
)
def test_addresses_are_coredns_spelling(text, found):
    assert address(text, 1) == found


def test_one_address_is_one_server(corefile):
    assert set(answers(corefile)) == {("[::]:8080", "/health"), ("[::]:8080", "/ready"), ("127.0.0.1:9153", "/metrics")}


def test_obs_30_health_is_that_of_the_resolver(corefile):
    assert answers(corefile)["[::]:8080", "/health"](Question()).body == b"OK"
    assert answers(corefile, alive=False)["[::]:8080", "/health"](Question()).status == 503


def test_obs_31_who_is_not_ready_is_named(corefile):
    assert answers(corefile)["[::]:8080", "/ready"](Question()).body == b"OK"
    assert answers(corefile, unready=["resolver", "kubernetes"])["[::]:8080", "/ready"](Question()).body == b"kubernetes,resolver"
    assert answers(corefile, leaving=True)["[::]:8080", "/ready"](Question()).body == b"Shutting down"


async def test_metrics_are_text(corefile):
    answer = await answers(corefile)["127.0.0.1:9153", "/metrics"](Question())
    assert b"coredns_panics_total 3\n" in answer.body


def test_obs_24_processes_tell_memory_and_time():
    found = {sample.metric: sample.values[0] for sample in process_samples(os.getpid())}
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert found["process_open_fds"] > 2
    assert list(process_samples(1 << 30)) == []
    assert build_info().labels[0].startswith("pointsman-")
