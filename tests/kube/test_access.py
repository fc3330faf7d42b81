"""Where the API server is and as whom to ask it, from real files and plug-ins."""

import base64
import json
import os
import stat
from pathlib import Path

import msgspec
import pytest
from pointsman.kube.access import FRESH_SECONDS, Access, Place
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.library import load

LIBRARY = load()


def kubeconfig(folder, user=None, cluster=None, **others):
    """Write a kubeconfig and return its path."""
    cluster = {"server": "https://10.0.0.1:6443"} | (cluster or {})
    path = folder / "kubeconfig"
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    } | others))
    return str(path)


def plugin(folder, answer, status=0):
    """Write a credential plug-in that counts its runs; return the user that names it."""
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\necho run >> {folder}/runs\ncat {folder}/answer\necho 'who are you' >&2\nexit {status}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    version = "client.authentication.k8s.io/v1"
    (folder / "answer").write_text(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": answer}))
    return {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}}


async def access(kubeconfig="", master="", environ=None, library=LIBRARY):
    found = Access(Place(kubeconfig, master, environ or {}), library)
    await found.refresh(0.0)
    return found


async def test_a_token_in_the_file(tmp_path):
    found = await access(kubeconfig(tmp_path, {"token": "secret"}))
    assert (found.host, found.authorization) == ("https://10.0.0.1:6443", "Bearer secret")


async def test_a_token_file_is_read_again_after_a_minute(tmp_path):
    """ServiceAccount tokens are replaced about every hour; kubeadm's kube-proxy names one by tokenFile."""
    token = tmp_path / "token"
    token.write_text("one\n")
    found = await access(kubeconfig(tmp_path, {"tokenFile": str(token)}))
    assert found.authorization == "Bearer one"
    token.write_text("two\n")
    assert not found.outdated(FRESH_SECONDS - 1)
    assert found.outdated(FRESH_SECONDS)
    await found.refresh(FRESH_SECONDS)
    assert found.authorization == "Bearer two"


async def test_a_token_file_goes_before_a_token(tmp_path):
    (tmp_path / "fresh").write_text("fresh\n")
    found = await access(kubeconfig(tmp_path, {"token": "stale", "tokenFile": "fresh"}))
    assert found.authorization == "Bearer fresh"


async def test_a_refusal_has_everything_read_again(tmp_path):
    found = await access(kubeconfig(tmp_path))
    assert not found.outdated(1.0)
    found.distrust()
    assert found.outdated(1.0)


async def test_a_clock_that_goes_backwards_keeps_no_old_token(tmp_path):
    found = await access(kubeconfig(tmp_path))
    await found.refresh(1000.0)
    assert found.outdated(5.0)


async def test_a_kubeconfig_that_is_replaced_counts(tmp_path):
    found = await access(kubeconfig(tmp_path))
    kubeconfig(tmp_path, {"token": "other"}, {"server": "https://10.0.0.2:6443/"})
    await found.refresh(60.0)
    assert (found.host, found.authorization) == ("https://10.0.0.2:6443", "Bearer other")


async def test_certificates_make_the_identity(tmp_path):
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text("x")
    user = {"client-certificate": "cert", "client-key": "key"}
    found = await access(kubeconfig(tmp_path, user, {"certificate-authority": "ca"}))
    assert found.authorization == ""
    assert found.configuration.cert_file == str(tmp_path / "cert")
    before = found.identity
    assert found.identity == before
    (tmp_path / "cert").write_text("newer")
    assert found.identity != before


async def test_certificates_within_the_file(tmp_path):
    ca = base64.b64encode(b"authority").decode()
    found = await access(kubeconfig(tmp_path, cluster={"certificate-authority-data": ca}))
    content, before = look(found.configuration.ssl_ca_cert)
    assert content == b"authority"
    identity = found.identity
    os.utime(found.configuration.ssl_ca_cert, ns=(0, before.st_mtime_ns))
    await found.refresh(60.0)
    _, after = look(found.configuration.ssl_ca_cert)
    assert after.st_atime > 0  # in use, says this to whoever tidies temporary files up
    assert (after.st_mtime_ns, found.identity) == (before.st_mtime_ns, identity)


def look(name):
    """Return a file's content, and what the file system knows of it."""
    return Path(name).read_bytes(), Path(name).stat()


async def test_a_plug_in_gives_a_token_and_runs_again_only_when_that_expires(tmp_path):
    user = plugin(tmp_path, {"token": "p1", "expirationTimestamp": "2100-01-01T00:00:00Z"})
    found = await access(kubeconfig(tmp_path, user))
    assert found.authorization == "Bearer p1"
    await found.refresh(60.0)
    assert (tmp_path / "runs").read_text() == "run\n"
    plugin(tmp_path, {"token": "p2", "expirationTimestamp": "2001-01-01T00:00:00Z"})
    os.utime(tmp_path / "kubeconfig", (1, 1))
    await found.refresh(120.0)
    await found.refresh(180.0)
    assert found.authorization == "Bearer p2"
    assert (tmp_path / "runs").read_text() == "run\n" * 3


async def test_a_plug_in_runs_again_if_the_server_refuses_what_it_gave(tmp_path):
    found = await access(kubeconfig(tmp_path, plugin(tmp_path, {"token": "p1", "expirationTimestamp": "2100-01-01T00:00:00Z"})))
    plugin(tmp_path, {"token": "p2", "expirationTimestamp": "2100-01-01T00:00:00Z"})
    found.distrust()
    await found.refresh(1.0)
    assert found.authorization == "Bearer p2"


async def test_a_plug_in_that_fails_is_told_with_its_words(tmp_path):
    with pytest.raises(ApiConfigError, match=r"plug-in '.*plugin' gave neither .*process returned 3.*who are you"):
        await access(kubeconfig(tmp_path, plugin(tmp_path, {"token": "x"}, status=3)))


async def test_what_was_read_stays_if_reading_again_fails(tmp_path):
    path = kubeconfig(tmp_path)
    found = await access(path)
    (tmp_path / "kubeconfig").write_text("half a {")
    with pytest.raises(ApiConfigError, match="kubeconfig"):
        await found.refresh(60.0)
    assert found.authorization == "Bearer t"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "form of a kubeconfig"), ("just text", "form of a kubeconfig"), ("{", "cannot be used"), ("[1]", "form of a kubeconfig"),
        ('{"current-context": "x"}', "x"), ("apiVersion: v1", "current-context"),
    ],
)
async def test_a_file_that_is_no_kubeconfig_is_named(tmp_path, content, complaint):
    (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(ApiConfigError, match=complaint) as caught:
        await access(str(tmp_path / "kubeconfig"))
    assert str(tmp_path / "kubeconfig") in str(caught.value)


async def test_a_server_that_is_no_url_is_told(tmp_path):
    with pytest.raises(ApiConfigError, match="is no URL"):
        await access(kubeconfig(tmp_path, cluster={"server": "10.0.0.1:6443"}))


async def test_a_missing_file_is_told():
    with pytest.raises(ApiConfigError, match=r"/nowhere/kubeconfig: no such file; .*--kubeconfig"):
        await access("/nowhere/kubeconfig")


async def test_nothing_at_all_says_what_there_is_to_say():
    with pytest.raises(ApiConfigError, match=r"--kubeconfig FILE, or read a folder with --manifests"):
        await access()


async def test_the_environments_proxy_is_used_but_for_what_is_spared(tmp_path):
    path = kubeconfig(tmp_path)
    through = await access(path, environ={"HTTPS_PROXY": "http://p:3128"})
    assert through.configuration.proxy == "http://p:3128"
    past = await access(path, environ={"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "10.0.0.0/8"})
    assert past.configuration.proxy is None
    told = await access(kubeconfig(tmp_path, cluster={"proxy-url": "http://q:1"}), environ={"HTTPS_PROXY": "http://p:3128"})
    assert told.configuration.proxy == "http://q:1"


async def test_proc_08_in_a_pod_the_service_account_is_used(tmp_path):
    (tmp_path / "token").write_text("pod\n")
    (tmp_path / "ca").write_text("ca")
    library = msgspec.structs.replace(LIBRARY, token_file=str(tmp_path / "token"), ca_file=str(tmp_path / "ca"))
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = await access(environ=environ, library=library)
    assert (found.host, found.authorization) == ("https://[fd00::1]:443", "bearer pod")
    (tmp_path / "token").write_text("pod2\n")
    await found.refresh(60.0)
    assert found.authorization == "bearer pod2"
    (tmp_path / "token").unlink()
    with pytest.raises(ApiConfigError, match=r"ServiceAccount of this Pod: .*token"):
        await found.refresh(120.0)


@pytest.mark.parametrize(("master", "host"), [("10.0.0.9:8080", "http://10.0.0.9:8080"), ("https://k:6443/", "https://k:6443")])
async def test_proc_08_a_master_alone_needs_nothing_else(master, host):
    assert (await access(master=master)).host == host


async def test_a_master_takes_the_place_of_the_kubeconfigs_server(tmp_path):
    (tmp_path / "ca").write_text("x")
    found = await access(kubeconfig(tmp_path, cluster={"certificate-authority": "ca"}), master="10.0.0.9:6443")
    assert (found.host, found.authorization) == ("https://10.0.0.9:6443", "Bearer t")
