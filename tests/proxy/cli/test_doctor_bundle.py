import tarfile

from pointsman.proxy.cli import doctor_bundle
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Host
from pointsman.proxy.known import from_snapshot
from pointsman.routing.route import Family

from ..views import small

HOST = Host("n1", {Family.IPV4: ("192.168.50.1",), Family.IPV6: ()})


def test_no_secret_is_packed_and_only_the_owner_may_read_it(monkeypatch, tmp_path):
    secret = tmp_path / "kubeconfig"
    secret.write_text("token: s3cr3t")
    monkeypatch.setattr(doctor_bundle, "_COMMANDS", (("sh", "-c", "echo rules"), ("no-such-program-here",)))
    known = from_snapshot(Config(kubeconfig=str(secret)), small().snapshot, HOST)
    target = tmp_path / "bundle.tar.gz"
    assert doctor_bundle.pack(target, known.picture.node, None, known) == 5
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as bundle:
        files = {name: bundle.extractfile(name).read() for name in bundle.getnames()}
    assert files["pointsman/sh-c.txt"] == b"rules\n"
    assert b"shop" in files["pointsman/picture.json"]
    assert not any(b"s3cr3t" in content for content in files.values())


def test_keys_that_the_kernel_makes_addresses_from_are_left_out(monkeypatch, tmp_path):
    lines = "net.ipv6.conf.all.forwarding = 1\nnet.ipv6.conf.eth0.stable_secret = 2001:db8:1:2:3:4:5:6\nnet.ipv6.conf.lo.forwarding = 0"
    monkeypatch.setattr(doctor_bundle, "_COMMANDS", (("sh", "-c", f"echo '{lines}'"),))
    known = from_snapshot(Config(), small().snapshot, HOST)
    target = tmp_path / "bundle.tar.gz"
    doctor_bundle.pack(target, known.picture.node, None, known)
    with tarfile.open(target) as bundle:
        said = bundle.extractfile("pointsman/sh-c.txt").read().decode()
    assert said == "net.ipv6.conf.all.forwarding = 1\nnet.ipv6.conf.lo.forwarding = 0\n"
