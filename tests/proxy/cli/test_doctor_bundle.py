import os
import tarfile

import pytest
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
    with doctor_bundle.opened(target) as into:
        assert doctor_bundle.pack(into, known.picture.node, None, known) == 5
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
    with doctor_bundle.opened(target) as into:
        doctor_bundle.pack(into, known.picture.node, None, known)
    with tarfile.open(target) as bundle:
        said = bundle.extractfile("pointsman/sh-c.txt").read().decode()
    assert said == "net.ipv6.conf.all.forwarding = 1\nnet.ipv6.conf.lo.forwarding = 0\n"


def test_nobody_else_may_read_it_at_any_time(tmp_path):
    target = tmp_path / "bundle.tar.gz"
    with doctor_bundle.opened(target) as into:
        into.write(b"packed")
        [draft] = tmp_path.iterdir()
        assert draft.stat().st_mode & 0o777 == 0o600
    assert [(one, one.read_text()) for one in tmp_path.iterdir()] == [(target, "packed")]
    assert target.stat().st_mode & 0o777 == 0o600


def test_no_link_is_followed_and_no_device_replaced(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "device")
    for name in ("link", "device"):
        with pytest.raises(FileExistsError, match="no plain file"), doctor_bundle.opened(tmp_path / name):
            pass
    assert (tmp_path / "link").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_broken_off_leaves_nothing_behind(tmp_path):
    (tmp_path / "bundle.tar.gz").write_text("an earlier one")
    with pytest.raises(KeyboardInterrupt), doctor_bundle.opened(tmp_path / "bundle.tar.gz"):
        raise KeyboardInterrupt
    assert [one.read_text() for one in tmp_path.iterdir()] == ["an earlier one"]
