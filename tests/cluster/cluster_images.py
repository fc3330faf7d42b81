"""Images without a registry: docker-archives that nodes import."""

import hashlib
import io
import json
import subprocess
import tarfile

from cluster_place import NODES, ClusterError


def packed(name, content, mode=0o644):
    """Return a tar's member."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    return member, io.BytesIO(content)


def of_one_program(path, tag, program):
    """Write the docker-archive of an image that holds one program, and return its path."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(*packed(program.name, program.read_bytes(), 0o755))
    layer = layer.getvalue()
    digest = hashlib.sha256(layer).hexdigest()
    configuration = json.dumps({
        "architecture": architecture(), "os": "linux", "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }).encode()
    named = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": named, "RepoTags": [tag], "Layers": [f"{digest}/layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in ((named, configuration), (f"{digest}/layer.tar", layer), ("manifest.json", manifest)):
            tar.addfile(*packed(name, content))
    return path


def architecture():
    """Return this machine's architecture as images name it."""
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def bring(cluster, archive, *, tag="", also=()):
    """Import a docker-archive on every node, and give the image further names."""
    for node in NODES:
        container_tool(cluster, node, "images", "import", "--digests=false", archive)
        for name in also:
            container_tool(cluster, node, "images", "tag", "--force", in_full(tag), in_full(name))


def in_full(name):
    """Return an image's name as containerd has it."""
    return name if "/" in name else f"docker.io/library/{name}"


def container_tool(cluster, node, *arguments):
    """Run containerd's own client on a node, in the namespace of kubelet's containers; return what it said."""
    command = cluster.inside(node, "ctr", "--namespace", "k8s.io", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{node}: ctr {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def tag_of(archive):
    """Return the name of a docker-archive's image."""
    with tarfile.open(archive) as tar:
        [image] = json.load(tar.extractfile("manifest.json"))
    return image["RepoTags"][0]
