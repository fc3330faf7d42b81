"""Every way to find the API server and to prove who one is, each with a real daemon against the real thing."""

import json
import re
import sys
from contextlib import asynccontextmanager

import pytest
from plane import ADDRESS, PORT
from plane_agent import ACCOUNT, api_agent, needs, rules
from plane_judge import VARIANTS, Judge
from plane_objects import metadata, node, port
from plane_proxy import NO_STREAMS
from plane_wait import until
from pointsman.routing.route import Protocol

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

NODE = "n1"
IN_A_POD = """
mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && ln -s "$1" /run/secrets/kubernetes.io/serviceaccount || exit 1
shift && exec "$@"
"""


@asynccontextmanager
async def agreeing(lab, plane, stage, served, arguments, scratch, **more):
    """Run an agent, and give the judge once it has agreed about a Service that is new to it."""
    await stage.pods("web", "n1p1", "n2p1")
    await stage.service("web", [port(80)], app="web", type="NodePort")
    async with api_agent(lab, NODE, VARIANTS[NODE], arguments, scratch, **more) as running:
        judge = Judge(plane, stage, (NODE,), served)
        try:
            await judge.agrees()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{running.log.read_text()[-3000:]}") from None
        yield judge


async def allow(plane, user):
    """Give a user the agent's rights."""
    group = "rbac.authorization.k8s.io"
    [made] = await plane.api.create({
        "apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": metadata(user),
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": ACCOUNT},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    })
    return f"/apis/{group}/v1/clusterrolebindings/{made['metadata']['name']}"


async def test_a_kubeconfig_with_client_certificates_that_are_replaced(lab, plane, stage, served, tmp_path):
    """The files get another certificate while the agent runs; the first one is worth nothing from then on."""
    first = await allow(plane, "first")
    await allow(plane, "second")
    files = [tmp_path / "client.crt", tmp_path / "client.key"]

    def install(user):
        for made, file in zip(plane.authority.issue(user, f"/CN={user}"), files, strict=True):
            made.rename(file)

    install("first")
    config = plane.kubeconfig(tmp_path / "kubeconfig", certificate=files)
    async with agreeing(lab, plane, stage, served, ("--kubeconfig", config), tmp_path) as judge:
        install("second")
        await plane.api.delete(first)
        await plane.restart()
        await stage.say("web", "n1p1", ready=False)
        await judge.agrees()


async def test_a_credential_plug_in_whose_token_ends(lab, plane, stage, served, door, tmp_path):
    """The plug-in's token is refused after a while; it is asked again and gives another one."""
    token, calls = tmp_path / "token", tmp_path / "calls"
    token.write_text(await plane.token(ACCOUNT))
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"""
import json, pathlib
with pathlib.Path({str(calls)!r}).open("a") as file:
    file.write("asked\\n")
status = {{"token": pathlib.Path({str(token)!r}).read_text(), "expirationTimestamp": "2020-01-01T00:00:00Z"}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
""")
    config = plane.kubeconfig(tmp_path / "kubeconfig", server=door.url, exec_command=(sys.executable, plugin))
    async with agreeing(lab, plane, stage, served, ("--kubeconfig", config), tmp_path) as judge:
        asked = calls.read_text().count("asked")
        door.worthless.add(token.read_text())
        token.write_text(await plane.token(ACCOUNT))
        door.cut()
        await stage.say("web", "n1p1", ready=False)
        await judge.agrees()
        assert calls.read_text().count("asked") > asked


async def test_inside_a_pod(lab, plane, stage, served, tmp_path):
    """The ServiceAccount's files and the environment that kubelet gives; the token is replaced as kubelet does it."""
    account = tmp_path / "account"
    account.mkdir()
    (account / "ca.crt").write_text(plane.authority.certificate.read_text())
    (account / "namespace").write_text("kube-system")

    async def renew():
        draft = account / "draft"
        draft.write_text(await plane.token(ACCOUNT))
        draft.rename(account / "token")

    await renew()
    wrapper = ("unshare", "--mount", "sh", "-c", IN_A_POD, "sh", account)
    surroundings = {"KUBERNETES_SERVICE_HOST": ADDRESS, "KUBERNETES_SERVICE_PORT": str(PORT)}
    async with agreeing(lab, plane, stage, served, (), tmp_path, wrapper=wrapper, environment=surroundings) as judge:
        await renew()
        await plane.restart()
        await stage.say("web", "n1p1", ready=False)
        await judge.agrees()


async def test_master_overrides_the_server_of_the_kubeconfig(lab, plane, stage, served, identity, tmp_path):
    config = await identity.kubeconfig("https://192.0.2.1:1")
    async with agreeing(lab, plane, stage, served, ("--kubeconfig", config, "--master", plane.server), tmp_path):
        pass


async def test_what_is_asked_is_what_the_chart_permits(lab, plane, stage, served, door, identity, tmp_path):
    """Least rights: nothing is asked that is not permitted, and nothing is permitted that is never asked.

    Some servers stream lists, which is a watch; the others must be asked for them.
    """
    permitted = {
        (verb, group, resource)
        for rule in json.loads(json.dumps(await rules_in_force(plane)))
        for verb in rule["verbs"] for group in rule["apiGroups"] for resource in rule["resources"]
    }
    door.asked.clear()
    config = await identity.kubeconfig(door.url)
    async with agreeing(lab, plane, stage, served, ("--kubeconfig", config), tmp_path):
        pass
    door.fault = NO_STREAMS
    async with api_agent(lab, NODE, VARIANTS[NODE], ("--kubeconfig", config), tmp_path):
        judge = Judge(plane, stage, (NODE,), served)
        await stage.change("web", externalIPs=["10.96.0.1"])  # somebody else's address: an event tells of it
        await judge.agrees()
        await until(lambda: ("create", "events.k8s.io", "events") in door.asked)
    door.fault = None
    assert set(door.asked) == permitted


async def rules_in_force(plane):
    return (await plane.api.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"))["rules"]


async def test_in_51_nothing_is_programmed_before_the_node_is_complete(lab, plane, stage, identity, tmp_path):
    """A node that registers after its agent has started: first not at all, then without pod ranges, then with them."""
    registered, known = node(lab.topology, NODE, "a")
    place = "/api/v1/nodes/late"
    arguments = ("--kubeconfig", await identity.kubeconfig(), "--hostname-override=Late", "--detect-local-mode=NodeCIDR")
    await stage.pods("web", "n1p1", "n2p1")
    made = await stage.service("web", [port(80)], app="web")

    async def answers():
        result = await lab.probe("n1p4", made["spec"]["clusterIP"], 80, Protocol.TCP, timeout_seconds=1)
        return result.backend in {"n1p1", "n2p1"}

    async with api_agent(lab, NODE, VARIANTS[NODE], arguments, tmp_path) as running:
        await until(lambda: "has no Node 'late'" in running.log.read_text(), says=running.log.read_text)
        await plane.api.create({**registered, "metadata": metadata("late"), "spec": {}})
        try:
            await plane.api.patch(f"{place}/status", known)
            await until(lambda: "spec.podCIDRs is empty" in running.log.read_text(), says=running.log.read_text)
            assert "applied" not in running.log.read_text()
            await plane.api.patch(place, {"spec": registered["spec"]})
            await until(answers, says=running.log.read_text)
        finally:
            await plane.api.delete(place)


def without(resource):
    """Return the chart's rules without one resource."""
    kept = ({**rule, "resources": [one for one in rule["resources"] if one != resource]} for rule in rules())
    return [rule for rule in kept if rule["resources"]]


@pytest.mark.parametrize("resource", [resource for rule in rules() for resource in rule["resources"]])
async def test_each_rule_is_needed_and_what_is_missing_is_named(resource, lab, plane, identity, tmp_path):
    """With one resource fewer the agent says which right it lacks, in the API server's words."""
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"
    lacking = re.compile(rf'cannot (?:list|watch|create) resource \\?"{resource}\\?"')
    await plane.api.patch(path, {"rules": without(resource)})
    try:
        arguments = ("--kubeconfig", await identity.kubeconfig())
        async with api_agent(lab, NODE, VARIANTS[NODE], arguments, tmp_path) as running:
            await until(lambda: lacking.search(running.log.read_text()), says=running.log.read_text)
    finally:
        await plane.api.patch(path, {"rules": rules()})


NEEDING = {
    "pods": "kubernetes cluster.local {\n    pods verified\n  }\n  autopath @kubernetes",
    "serviceimports": "kubernetes cluster.local clusterset.local {\n    multicluster clusterset.local\n  }",
}
"""Lines of a Corefile that need the rights of this name (charts/pointsman/files/clusterrole-dns.yaml)."""


@pytest.mark.parametrize("need", needs())
async def test_what_a_corefile_needs_is_asked_for_and_named_where_it_is_missing(need, lab, plane, door, identity, tmp_path):
    """Without the right the agent says which one it is, and what is lost; with it nothing else is asked for that is not permitted.

    The second time the agent starts with a Corefile that does not need it yet (OBS-50).
    """
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"
    corefile = tmp_path / "Corefile"
    corefile.write_text(f".:53 {{\n  {NEEDING[need]}\n}}\n")
    config = await identity.kubeconfig(door.url)
    arguments = ("--kubeconfig", config, "--dns", "--corefile", str(corefile), "--dns-addresses=169.254.20.10")
    more = needs()[need]["rules"]
    [resource] = [resource for rule in more for resource in rule["resources"]]
    assert re.search(needs()[need]["corefile"], corefile.read_text())
    async with api_agent(lab, NODE, VARIANTS[NODE], arguments, tmp_path) as running:
        await until(lambda: f"list and watch {resource}" in running.log.read_text(), says=running.log.read_text)
    await plane.api.patch(path, {"rules": [*rules(), *more]})
    try:
        door.asked.clear()
        needing, before = corefile.read_text(), running.log.stat().st_size
        corefile.write_text(".:53 {\n  kubernetes cluster.local\n  reload 2s 1s\n}\n")
        async with api_agent(lab, NODE, VARIANTS[NODE], arguments, tmp_path) as running:
            await until(lambda: "DNS listens" in running.log.read_text()[before:], says=running.log.read_text)
            assert resource not in {one for _, _, one in door.asked}
            corefile.write_text(needing)
            await until(lambda: ("watch", more[0]["apiGroups"][0], resource) in door.asked, says=running.log.read_text)
        permitted = {(verb, group, one) for rule in [*rules(), *more]
                     for verb in rule["verbs"] for group in rule["apiGroups"] for one in rule["resources"]}
        assert set(door.asked) <= permitted
    finally:
        await plane.api.patch(path, {"rules": rules()})


@pytest.mark.parametrize("code", [403, 404])
async def test_optional_kinds_may_be_missing(code, lab, plane, stage, served, door, identity, tmp_path):
    """An API server without ServiceCIDRs, or without the right to see them, is told of and lived with."""
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"
    before = await rules_in_force(plane)
    kept = [rule for rule in before if set(rule["resources"]) & {"services", "endpointslices", "nodes"}]
    if code == 404:
        door.missing.add("servicecidrs")
    else:
        await plane.api.patch(path, {"rules": kept})
    try:
        config = await identity.kubeconfig(door.url)
        async with api_agent(lab, NODE, VARIANTS[NODE], ("--kubeconfig", config), tmp_path) as running:
            await stage.pods("web", "n1p1", "n2p1")
            made = await stage.service("web", [port(80)], app="web")

            async def answers():
                result = await lab.probe("n1p4", made["spec"]["clusterIP"], 80, Protocol.TCP, timeout_seconds=1)
                return result.backend in {"n1p1", "n2p1"}

            await until(answers, says=running.log.read_text)
            await until(lambda: "kind=ServiceCIDR" in running.log.read_text(), says=running.log.read_text)
    finally:
        door.missing.clear()
        await plane.api.patch(path, {"rules": before})
