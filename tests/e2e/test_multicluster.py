"""Names of a clusterset: the API server learns of ServiceImports while DNS is served, and packets reach what is answered (EXT-01)."""

import socket
import sys

import pytest
from fakes import dns as fake
from plane_agent import ACCOUNT, api_agent, needs, rules
from plane_api import ApiError
from plane_judge import VARIANTS
from plane_objects import endpoint_slice, metadata, port
from plane_wait import until
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

NODE = "n1"
PLACE = ("169.254.20.10", 53)
GROUP = "multicluster.x-k8s.io"
KIND = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/serviceimports.multicluster.x-k8s.io"
ROLE = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"
COREFILE = """.:53 {
    errors
    kubernetes cluster.local clusterset.local in-addr.arpa {
        multicluster clusterset.local
    }
}
"""
IMPATIENT = f"""#!{sys.executable}
from pointsman.kube import resource
from pointsman.proxy.cli.main import main
resource.SOON = 0.2
main()
"""
"""The agent, but it looks for what is missing five times a second."""


@pytest.fixture
def impatient(tmp_path):
    program = tmp_path / "pointsman"
    program.write_text(IMPATIENT)
    program.chmod(0o755)
    return program


@pytest.fixture
def ask(lab):
    """What asks for a name at the node: it gives the values of the answer, or what there is instead."""

    async def asked(name, qtype="A", seconds=30.0):
        with lab.socket(NODE, Family.IPV4, socket.SOCK_DGRAM) as sock:
            reply = await fake.ask(sock, PLACE, name, qtype, seconds)
        found = fake.values(reply)
        return sorted(found) if isinstance(found, list) else found

    return asked


def kind():
    """Return the definition of the kind, as far as an API server needs it."""
    schema = {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/1646"}
    names = {"plural": "serviceimports", "singular": "serviceimport", "kind": "ServiceImport", "listKind": "ServiceImportList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": metadata(f"serviceimports.{GROUP}", annotations=approved),
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }  # fmt: skip


async def served(api):
    """Return whether objects of the kind can be made by now."""
    try:
        return await api.get(f"/apis/{GROUP}/v1alpha1/serviceimports")
    except ApiError:
        return False


def service_import(namespace, name, **spec):
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    meta = metadata(name, namespace)
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ServiceImport", "metadata": meta, "spec": {"ports": ports, **spec}}


def offered(namespace, name, cluster, address):
    """Return the slice with which a cluster takes part in an import."""
    made = endpoint_slice(namespace, f"{name}-{cluster}", "", [(address, NODE)])
    made["metadata"]["labels"] = {
        "multicluster.kubernetes.io/service-name": name, "multicluster.kubernetes.io/source-cluster": cluster,
    }  # fmt: skip
    return made


async def test_ext_01_the_kind_comes_while_dns_is_served(lab, plane, stage, identity, ask, impatient, tmp_path):
    (tmp_path / "Corefile").write_text(COREFILE)
    arguments = ("--kubeconfig", await identity.kubeconfig(), "--dns", "--corefile", tmp_path / "Corefile", f"--dns-addresses={PLACE[0]}")
    await stage.pods("web", "n1p1", "n2p1")
    derived = (await stage.service("derived", [port(80)], app="web"))["spec"]["clusterIP"]
    web, pods = (f"{name}.{stage.name}.svc.clusterset.local" for name in ("web", "db"))
    try:
        async with api_agent(lab, NODE, VARIANTS[NODE], arguments, tmp_path, program=impatient) as running:

            async def becomes(name, expected, qtype="A"):
                async def so():
                    return await ask(name, qtype, seconds=1.0) == expected

                await until(so, says=running.log.read_text)

            await becomes(f"derived.{stage.name}.svc.cluster.local", [derived])
            assert await ask(web) == "SERVFAIL"  # nobody may look: nobody knows
            assert "list and watch serviceimports" in running.log.read_text()
            await plane.api.patch(ROLE, {"rules": [*rules(), *needs()["serviceimports"]["rules"]]})
            await becomes(web, "NXDOMAIN")  # the kind is not there
            await plane.api.create(kind())
            await until(lambda: served(plane.api))
            await plane.api.create(
                service_import(stage.name, "web", type="ClusterSetIP", ips=[derived]), service_import(stage.name, "db", type="Headless"),
                offered(stage.name, "db", "east", "10.100.0.1"), offered(stage.name, "db", "west", "10.200.0.1"),
            )  # fmt: skip
            await becomes(web, [derived])
            assert (await lab.probe("n1p4", derived, 80, Protocol.TCP)).backend in {"n1p1", "n2p1"}
            await becomes(pods, ["10.100.0.1", "10.200.0.1"])
            assert await ask(f"10-200-0-1.west.{pods}") == ["10.200.0.1"]
            assert await ask(f"10-200-0-1.east.{pods}") == await ask(f"db.{stage.name}.svc.cluster.local") == "NXDOMAIN"
            assert await ask("1.0.100.10.in-addr.arpa", "PTR") == "NXDOMAIN"
            await plane.api.delete(stage.slice_path("db-east"))
            await becomes(pods, ["10.200.0.1"])
            await plane.api.delete(f"/apis/{GROUP}/v1alpha1/namespaces/{stage.name}/serviceimports/web")
            await becomes(web, "NXDOMAIN")
            await plane.api.delete(KIND)  # and with it the objects
            await becomes(pods, "NXDOMAIN")
            assert "kubernetes.io/service-name" not in running.log.read_text()  # rules miss nothing in slices of other clusters
    finally:
        if await plane.api.exists(KIND):
            await plane.api.delete(KIND)
        await plane.api.patch(ROLE, {"rules": rules()})
