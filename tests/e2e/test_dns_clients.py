"""Go's own resolver against ours, with the resolv.conf that kubelet writes: most programs of a cluster ask with it.

The other clients (dig, glibc, musl, dnspython) need nothing built, and are asked in tests/proxy/dns.
"""

import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from fakes import dns as fake
from fakes.scratch import namespace

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

COREFILE = """. {
    errors
    template IN A www.example.com {
        answer "{{ .Name }} 60 IN A 198.51.100.7"
    }
    template IN AAAA www.example.com {
        rcode NOERROR
    }
    template ANY ANY . {
        rcode NXDOMAIN
    }
}
cluster.local clusterset.local in-addr.arpa {
    errors
    kubernetes {
        multicluster clusterset.local
    }
}
"""
RESOLV_CONF = "nameserver 127.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:30\n"
WEB = "10.96.0.80 fd00:10:96::50"
MANY = [f"10.244.{number // 100}.{number % 100}" for number in range(200)]
PATIENCE = 60.0


@pytest.fixture
def ask(tmp_path, binaries):
    """What asks Go's resolver: a kind of question and names; it gives a line for each."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    fake.write(
        folder, "cluster", fake.namespace("shop"), fake.namespace("pay"),
        fake.service("shop", "web", WEB.split()), fake.service("pay", "cart", ["10.96.0.9"]),
        fake.service("shop", "many", (), clusterIP="None"), fake.endpoint_slice("shop", "many", MANY),
        {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport", "metadata": {"name": "far", "namespace": "shop"},
         "spec": {"type": "ClusterSetIP", "ips": ["10.96.0.90"], "ports": [{"name": "http", "port": 8443, "protocol": "TCP"}]}},
    )  # fmt: skip
    (tmp_path / "Corefile").write_text(COREFILE)
    (tmp_path / "resolv.conf").write_text(RESOLV_CONF)
    inside = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec \"$@\""

    def asked(*arguments):
        command = ["unshare", "--mount", "sh", "-c", inside, "sh", str(binaries / "resolve"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE * 3).stdout.splitlines()

    with namespace(), serving(tmp_path):
        until(lambda: asked("host", "web") == [WEB], tmp_path / "log")
        yield asked


@contextmanager
def serving(place):
    command = [sys.executable, "-P", "-m", "pointsman.proxy.cli.main", "dns", "serve", "--corefile", str(place / "Corefile")]
    options = ["--manifests", str(place / "manifests"), "--listen", "127.0.0.1:53", "--socket", str(place / "dns.sock")]
    with (place / "log").open("w") as log, subprocess.Popen([*command, *options], stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()


def until(so, log):
    """Wait until something is so."""
    latest = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < latest, log.read_text()
        time.sleep(0.1)


def test_gos_resolver_finds_every_name(ask):
    spellings = ("web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "WEB.Shop.svc.cluster.local.")
    assert ask("host", *spellings) == [WEB] * len(spellings)
    assert ask("host", "cart.pay", "www.example.com") == ["10.96.0.9", "198.51.100.7"]
    assert ask("host", "cart", "none.shop") == ["not found"] * 2
    assert ask("srv", "_http._tcp.web.shop.svc.cluster.local") == ["web.shop.svc.cluster.local.:80"]
    assert ask("addr", "10.96.0.80", "10.96.0.81") == ["web.shop.svc.cluster.local.", "not found"]


def test_ext_01_gos_resolver_finds_names_of_the_clusterset(ask):
    assert ask("host", "far.shop.svc.clusterset.local", "web.shop.svc.clusterset.local", "far") == ["10.96.0.90", "not found", "not found"]
    assert ask("srv", "_http._tcp.far.shop.svc.clusterset.local") == ["far.shop.svc.clusterset.local.:8443"]


def test_gos_resolver_gets_a_long_answer_over_tcp(ask):
    assert ask("host", "many") == [" ".join(sorted(MANY))]
