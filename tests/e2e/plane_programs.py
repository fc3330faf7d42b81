"""Command lines of a control plane's programs, and kubeconfigs: what the laboratory's plane and the two-node cluster have in common."""

import json

from plane_certificates import openssl
from pointsman.proxy.demo.lab_topology import SERVICE_RANGE
from pointsman.routing.route import Family

ADDRESS = "192.168.50.250"
PORT = 6443
KUBERNETES_IP = "10.96.0.1"
ETCD = "http://127.0.0.1:2379"


def etcd(folder, binaries):
    peer = "http://127.0.0.1:2380"
    program = max(binaries.glob("etcd-*"))
    return (program, "--data-dir", folder / "etcd", "--unsafe-no-fsync", "--quota-backend-bytes", str(4 << 30),
            "--listen-client-urls", ETCD, "--advertise-client-urls", ETCD, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--logger", "zap", "--log-level", "warn")


def apiserver(folder, binaries, authority, *, authorization="RBAC"):
    """Return the API server's command line; its certificate and the key of service accounts are made in the folder."""
    certificate, key = authority.issue("apiserver", "/CN=kube-apiserver", (ADDRESS, KUBERNETES_IP, "127.0.0.1"), ("kubernetes",))
    signing = folder / "service-accounts.key"
    signing.write_text(openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
    return (binaries / "kube-apiserver", f"--etcd-servers={ETCD}", f"--secure-port={PORT}",
            f"--bind-address={ADDRESS}", f"--advertise-address={ADDRESS}", "--allow-privileged=true",
            f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--client-ca-file={authority.certificate}",
            f"--service-account-key-file={signing}", f"--service-account-signing-key-file={signing}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--authorization-mode={authorization}",
            f"--service-cluster-ip-range={SERVICE_RANGE[Family.IPV4]},{SERVICE_RANGE[Family.IPV6]}",
            "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000", "--enable-priority-and-fairness=false",
            "--shutdown-delay-duration=0s", "--profiling=false")


def controllers(folder, binaries, authority, kubeconfig, wanted):
    return (binaries / "kube-controller-manager", f"--kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={folder / 'service-accounts.key'}", f"--root-ca-file={authority.certificate}",
            "--leader-elect=false", f"--controllers={','.join(wanted)}", "--kube-api-qps=1000", "--kube-api-burst=2000",
            "--concurrent-service-endpoint-syncs=10", "--bind-address=127.0.0.1", "--endpointslice-updates-batch-period=0s")


def kubeconfig(path, server, authority, user):
    """Write a kubeconfig whose user is given as the file has it, and return its path."""
    cluster = {"server": server, "certificate-authority": str(authority.certificate)}
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": cluster}], "users": [{"name": "e2e", "user": user}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
    }))
    return path


def certified(certificate, key):
    """Return a kubeconfig's user who shows a certificate."""
    return {"client-certificate": str(certificate), "client-key": str(key)}
