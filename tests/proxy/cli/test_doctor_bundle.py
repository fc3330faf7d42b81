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
