"""The chart: what the real helm makes of it, over a matrix of values, and what a real API server says to that."""

import json
import re
import subprocess

import msgspec
import pytest
import yaml
from chart import API, CHART, Helm, RefusedError, container, one
from plane_agent import needs, rules
from plane_api import collection
from pointsman.proxy.config import Config
from pointsman.proxy.config_check import problems
from pointsman.proxy.config_file import read
from pointsman.proxy.demo.lab_topology import UNDERLAY
from pointsman.proxy.modes import MODES

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]
beside_the_plane = pytest.mark.asyncio(loop_scope="session")

MONITORING = ("metrics.expose=true", "serviceMonitor.enabled=true", "prometheusRule.enabled=true", "dashboard.enabled=true")
COREFILE = ".:53 {\n  kubernetes cluster.local {\n    pods verified\n  }\n  prometheus :9153\n}\n"
MATRIX = {
    "as it is": (API,),
    **{f"mode {mode}": (API, f"mode={mode}") for mode in MODES},
    "configured": (API, "config.clusterCIDR=10.244.0.0/16\\,fd00:10:244::/56", "config.conntrack.maxPerCore=0",
                   "config.ipvs.syncPeriod=10s", "config.nodePortAddresses={primary}",
                   "pointsmanConfig.externalIPs.policy=deny", "config.bindAddress=::"),
    "kube-proxy's ConfigMap": ("existingConfigMap=kube-proxy",),
    "kube-proxy's ConfigMap, another API address": ("existingConfigMap=kube-proxy", API, "api.port=443"),
    "monitored": (API, *MONITORING),
    "without the init container": (API, "privilegedInit=false"),
    "with accounts of others": (API, "serviceAccount.create=false", "serviceAccount.name=other", "rbac.create=false"),
    "DNS": (API, "dns.enabled=true"),
    "DNS with a Corefile": (API, "dns.enabled=true", f"dns.corefile={COREFILE}", "dns.metrics.enabled=true", "dns.takeVip=false"),
    "DNS with CoreDNS's Corefile, beside kube-proxy's ConfigMap": ("existingConfigMap=kube-proxy", "dns.enabled=true",
                                                                   "dns.existingConfigMap=coredns", "dns.reads={pods}"),
    "cleanup": ("cleanup=true",),
    "an IPv6 address of the API server": ("api.host=2001:db8::1",),
    "health on one address": (API, "config.healthzBindAddress=[::1]:10256"),
    "nothing said in two ways": (API, "config=null", "pointsmanConfig=null", "resources=null", "nodeSelector=null"),
    "empty parts": (API, "config.clientConnection=null", "config.mode=", "pointsmanConfig.dns=null"),
    "chosen nodes": (API, "nodeSelector.pool=edge", "maxUnavailable=1", "podAnnotations.a=b", "podLabels.team=net",
                     "seLinuxOptions.type=spc_t", "imagePullSecrets[0].name=registry", "resources.limits.memory=256Mi",
                     "image.digest=sha256:" + "0" * 64, "extraArgs={--ipvs-drain-cap=1m}", "verbosity=4", "loggingFormat=json"),
}
REFUSED = {
    "mod=iptables": "additional properties 'mod' not allowed",
    "mode=iptable": "value must be one of '', 'iptables', 'ipvs'",
    "mode=nftables": "/mode",
    "config.mode=nftables": "/config/mode",
    "config.clusterCidr=10.0.0.0/8": "additional properties 'clusterCidr' not allowed",
    "config.conntrack.min=lots": "/config/conntrack/min",
    "config.syncPeriod=10s": "additional properties 'syncPeriod' not allowed",
    "config.iptables.syncPeriod=10 sec": "/config/iptables/syncPeriod",
    "capabilities={SYS_ADMIN}": "/capabilities/0",
    "capabilities={NET_RAW}": "/capabilities",
    "maxUnavailable=0": "/maxUnavailable",
    "api.host=https://192.0.2.1": "/api/host",
    "api.host=192.0.2.1:6443": "/api/host",
    "api.host=api.example.org:6443": "/api/host",
    "api.host=[2001:db8::1]:6443": "/api/host",
    "podLabels.app\\.kubernetes\\.io/name=mine": "/podLabels/app.kubernetes.io",
    "podAnnotations.pointsman\\.dev/config=mine": "/podAnnotations/pointsman.dev",
    "imagePullSecrets[0].nam=registry": "/imagePullSecrets/0",
    "imagePullSecrets[0]=null": "/imagePullSecrets/0",
    "health.port=70000": "/health/port",
    "extraArgs={verbose}": "/extraArgs/0",
    "serviceMonitor.enabled=true": "needs metrics.expose",
    "config.healthzBindAddress=0.0.0.0:1": "both must name the same port",
    "dns.reads={secrets}": "/dns/reads/0",
    "dns.localAddress=localhost": "/dns/localAddress",
    "podAnnotations.pointsman\\.dev/corefile=mine": "/podAnnotations/pointsman.dev",
}
CONTRADICTIONS = {
    ("mode=ipvs", "config.mode=iptables", API): "say it once",
    ("existingConfigMap=kube-proxy", "mode=ipvs"): "mode has no effect beside existingConfigMap",
    ("existingConfigMap=kube-proxy", "config.clusterCIDR=10.0.0.0/8"): "config has no effect beside existingConfigMap",
    ("existingConfigMap=kube-proxy", "metrics.expose=true"): "set metricsBindAddress in",
    ("config.metricsBindAddress=0.0.0.0:1", "metrics.expose=true", API): "say it once",
    ("config.metricsBindAddress=0.0.0.0:1", "serviceMonitor.enabled=true", API): "Prometheus is told metrics.port",
    ("config.metricsBindAddress=[::1]:10249", "serviceMonitor.enabled=true", API): "where Prometheus does not reach metrics",
    ("config.metricsBindAddress=127.0.0.1:10249", "serviceMonitor.enabled=true", API): "where Prometheus does not reach metrics",
    ("dns.enabled=true", "pointsmanConfig.dns.takeVip=false", API): "dns.takeVip and pointsmanConfig.dns.takeVip are both set",
    ("dns.corefile=.", "pointsmanConfig.dns.enabled=true", API): "need dns.enabled",
    ("dns.enabled=true", "dns.corefile=.", "dns.existingConfigMap=coredns", API): "say it once",
    ("dns.enabled=true", "dns.metrics.enabled=true", API): "needs a Corefile with `prometheus :9153`",
    ("dns.enabled=true", f"dns.corefile={COREFILE}", "dns.metrics.enabled=true", "dns.metrics.port=9253", API): "`prometheus :9253`",
    ("dns.enabled=true", "dns.corefile=. {\n  prometheus 127.0.0.1:9153\n}", "dns.metrics.enabled=true", API): "loopback",
    (): "api.host is not set",
}


NEEDING = {
    "kubernetes cluster.local": (),
    "kubernetes cluster.local {\n    pods insecure\n  }": (),
    "kubernetes cluster.local {\n    # pods verified\n  }": (),
    "kubernetes cluster.local {\n    pods verified\n  }": ("pods",),
    "kubernetes cluster.local\n  autopath @kubernetes": ("pods",),
    "autopath cluster.local @kubernetes\n  kubernetes cluster.local": ("pods",),
    "autopath /etc/resolv.conf": (),
    "kubernetes cluster.local clusterset.local {\n    multicluster clusterset.local\n  }": ("serviceimports",),
    "kubernetes cluster.local {\n    multicluster # none\n  }": (),
    "kubernetes cluster.local clusterset.local {\n    pods verified\n    multicluster clusterset.local\n  }": ("pods", "serviceimports"),
}


@pytest.fixture(scope="session")
def helm(binaries):
    [program] = binaries.glob("helm-v*")
    return Helm(program)


@pytest.fixture
def inside(helm, plane, lab):
    """helm where it reaches the API server, as an administrator."""
    return Helm(helm.program, lab.command(UNDERLAY), KUBECONFIG=str(plane.admin_kubeconfig()))


@pytest.mark.parametrize("settings", MATRIX.values(), ids=MATRIX)
def test_lint_finds_nothing(settings, helm):
    assert "0 chart(s) failed" in helm.lint(*settings)


@beside_the_plane
@pytest.mark.parametrize("settings", MATRIX.values(), ids=MATRIX)
async def test_the_api_server_takes_every_object(settings, helm, plane):
    """With strict validation, so that a misspelt field is an error; kinds of the Prometheus operator are not known there."""
    objects = helm.template(*settings)
    known = [each for each in objects if not each["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(objects) - len(known) == 2 * ("serviceMonitor.enabled=true" in settings) + ("dns.metrics.enabled=true" in settings)
    for each in known:
        each["metadata"]["name"] += "-tried"  # the agent's own role is there
        await plane.api.post(f"{collection(each)}?dryRun=All&fieldValidation=Strict", each)


@pytest.mark.parametrize("settings", MATRIX.values(), ids=MATRIX)
def test_the_agent_understands_the_configuration(settings, helm):
    """No problem, no remark, and the addresses that probes and Prometheus are told."""
    objects = helm.template(*settings)
    if "existingConfigMap=kube-proxy" in settings:
        assert not [each for each in objects if each["kind"] == "ConfigMap"]
        return
    content = read(one(objects, "ConfigMap", "pointsman")["data"]["config.conf"].encode())
    assert (content.problems, content.remarks) == ((), ())
    config = msgspec.structs.replace(Config(), **{name: given.value for name, given in content.values.items()})
    assert problems(config) == ()
    assert config.healthz_bind_address.endswith(":10256")
    assert config.metrics_bind_address.startswith(("127.", "[::1]")) is ("metrics.expose=true" not in settings)
    assert [f"mode={config.mode}"] == [setting for setting in settings if setting.startswith("mode=")] or config.mode == "iptables"


@pytest.mark.parametrize(("setting", "words"), REFUSED.items(), ids=REFUSED)
def test_a_wrong_value_is_refused_in_clear_words(setting, words, helm):
    with pytest.raises(RefusedError, match=re.escape(words)):
        helm.template(API, *([setting] if setting != API else []))


@pytest.mark.parametrize(("settings", "words"), CONTRADICTIONS.items(), ids=[" ".join(each) for each in CONTRADICTIONS])
def test_contradictions_are_refused_in_clear_words(settings, words, helm):
    with pytest.raises(RefusedError, match=re.escape(words)):
        helm.template(*settings)


def test_the_agent_holds_the_fewest_rights(helm):
    """What docs/security.md promises."""
    objects = helm.template(API)
    pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    agent = container(objects)
    assert agent["securityContext"] == {
        "privileged": False, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsUser": 0,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
    }
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["hostNetwork"] is True
    assert not {"hostPID", "hostIPC"} & set(pod)
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
    seen = {paths[mount["name"]]: mount.get("readOnly", False) for mount in agent["volumeMounts"] if mount["name"] in paths}
    assert seen == {"/run/xtables.lock": False, "/run/pointsman": False}
    modules = [mount for mount in container(objects, "settings")["volumeMounts"] if mount["mountPath"] == "/lib/modules"]
    assert modules == [{"name": "modules", "mountPath": "/lib/modules", "readOnly": True}]
    assert one(objects, "ClusterRole")["rules"] == rules()


@pytest.mark.parametrize("settings", [(API,), ("existingConfigMap=kube-proxy",), ("cleanup=true",)], ids=str)
def test_the_agent_alone_is_given_the_accounts_token(settings, helm):
    objects = helm.template(*settings)
    pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    tokens = {volume["name"] for volume in pod["volumes"] if "serviceAccountToken" in json.dumps(volume)}
    holders = {each["name"]: mount for each in (*pod["initContainers"], *pod["containers"])
               for mount in each.get("volumeMounts", ()) if mount["name"] in tokens}
    place = {"name": "account", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    assert holders == ({} if "cleanup=true" in settings else {"pointsman": place})


@pytest.mark.parametrize(("address", "host"), [("0.0.0.0", None), ("[::]", None), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")])
def test_probes_ask_where_the_server_listens(address, host, helm):
    agent = container(helm.template(API, f"config.healthzBindAddress={address}:10256"))
    assert [agent[kind]["httpGet"].get("host") for kind in ("startupProbe", "livenessProbe", "readinessProbe")] == [host] * 3


def test_releases_of_one_name_in_two_namespaces_have_roles_of_their_own(helm):
    def roles(namespace):
        objects = helm.template(API, more=("--namespace", namespace))
        binding = one(objects, "ClusterRoleBinding")
        assert binding["roleRef"]["name"] == one(objects, "ClusterRole")["metadata"]["name"]
        return {binding["metadata"]["name"], binding["roleRef"]["name"]}

    assert not roles("kube-system") & roles("edge")


def test_a_resolver_may_bind_its_port(helm):
    def added(*settings):
        return container(helm.template(API, *settings))["securityContext"]["capabilities"]["add"]

    assert added("pointsmanConfig.dns.enabled=true") == ["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"]
    assert added("pointsmanConfig.dns.enabled=false") == ["NET_ADMIN", "NET_RAW"]
    assert added("extraArgs={--dns}") == added("extraArgs={--dns=true}") == ["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"]
    assert added("extraArgs={--dns=false,--dns-workers=2}") == ["NET_ADMIN", "NET_RAW"]


@pytest.mark.parametrize(("lines", "resources"), NEEDING.items())
def test_the_role_gives_what_the_corefile_needs_and_nothing_more(lines, resources, helm):
    text = f".:53 {{\n  {lines}\n  forward . 192.0.2.53\n}}\n"
    found = one(helm.template(API, "dns.enabled=true", values={"dns.corefile": json.dumps(text)}), "ClusterRole")["rules"]
    own = rules()
    assert found[: len(own)] == own
    assert [(resource, tuple(rule["verbs"])) for rule in found[len(own) :] for resource in rule["resources"]] == [
        (resource, ("list", "watch")) for resource in resources
    ]


def test_rights_may_be_named_where_helm_does_not_see_the_corefile(helm):
    settings = ("pointsmanConfig.dns.enabled=true", f"dns.reads={{{','.join(needs())}}}")
    found = one(helm.template(API, *settings), "ClusterRole")["rules"]
    assert found == [*rules(), *(rule for need in needs().values() for rule in need["rules"])]
    assert one(helm.template(API, settings[1]), "ClusterRole")["rules"] == rules()  # not without DNS


def test_dns_of_the_values_reaches_the_agent(helm):
    objects = helm.template(API, "dns.enabled=true", "dns.takeVip=false", f"dns.corefile={COREFILE}")
    agent = container(objects)
    assert set(agent["args"]) >= {"--dns", "--dns-take-vip=false", "--corefile=/etc/coredns/Corefile"}
    assert {"name": "corefile", "mountPath": "/etc/coredns", "readOnly": True} in agent["volumeMounts"]
    assert one(objects, "ConfigMap", "pointsman-dns")["data"] == {"Corefile": COREFILE}
    plain = container(helm.template(API, "dns.enabled=true"))["args"]
    assert f"--dns-addresses={','.join(Config().dns_addresses)}" in plain
    assert not [word for word in plain if word.startswith("--corefile")]


def test_a_corefile_without_reload_rolls_the_pods_when_it_changes(helm):
    def annotation(text):
        template = one(helm.template(API, "dns.enabled=true", values={"dns.corefile": json.dumps(text)}), "DaemonSet")["spec"]["template"]
        return template["metadata"]["annotations"].get("pointsman.dev/corefile")

    assert annotation(COREFILE) != annotation(COREFILE + "# changed") != None  # noqa: E711 - a chain
    assert annotation(COREFILE.replace("  prometheus", "  reload\n  prometheus")) is None
    hosts = "  hosts /etc/hosts {\n    reload 30s\n    fallthrough\n  }\n"
    assert annotation(COREFILE.replace("  prometheus", f"{hosts}  prometheus")), "of hosts, not of the Corefile"
    assert annotation(COREFILE.replace("  prometheus", f"{hosts}  reload\n  prometheus")) is None


def test_prometheus_finds_dns_under_the_job_that_dashboards_look_for(helm):
    settings = ("dns.enabled=true", f"dns.corefile={COREFILE}", "dns.metrics.enabled=true", "dns.metrics.job=kube-dns")
    objects = helm.template(API, *settings)
    [endpoint] = one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert {"name": endpoint["port"], "containerPort": 9153} in container(objects)["ports"]
    given = {each["targetLabel"]: each.get("replacement") for each in endpoint["relabelings"]}
    assert given == {"node": None, "job": "kube-dns", "k8s_app": "kube-dns"}


@beside_the_plane
async def test_coredns_own_configmap_is_used_and_looked_at(inside, plane):
    server, settings = ("--dry-run=server",), (API, "dns.enabled=true", "dns.existingConfigMap=given")
    with pytest.raises(RefusedError, match="has no ConfigMap of this name with the key Corefile"):
        inside.template(*settings, more=server)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given", "namespace": "kube-system"},
            "data": {"Corefile": COREFILE}}
    await plane.api.create(made)
    try:
        objects = inside.template(*settings, more=server)
    finally:
        await plane.api.delete(f"{collection(made)}/given")
    assert one(objects, "ClusterRole")["rules"] == [*rules(), *needs()["pods"]["rules"]]
    volumes = one(objects, "DaemonSet")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "corefile", "configMap": {"name": "given"}} in volumes


def test_the_pods_are_rolled_out_safely(helm):
    spec = one(helm.template(API), "DaemonSet")["spec"]
    pod, agent = spec["template"]["spec"], spec["template"]["spec"]["containers"][0]
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert agent["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert agent["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}} in agent["env"]


def test_a_changed_configuration_rolls_the_pods_and_an_equal_one_does_not(helm):
    def annotation(*settings):
        return one(helm.template(API, *settings), "DaemonSet")["spec"]["template"]["metadata"]["annotations"]["pointsman.dev/config"]

    assert annotation() == annotation("resources.limits.cpu=1") != annotation("config.iptables.masqueradeAll=true")


def test_kube_proxys_configmap_is_mounted_where_its_paths_lead(helm):
    """DEP-03: its config.conf names /var/lib/kube-proxy/kubeconfig.conf. File by file, so that an edit restarts no agent by itself."""
    objects = helm.template("existingConfigMap=kube-proxy")
    agent = container(objects)
    assert "--config=/var/lib/kube-proxy/config.conf" in agent["args"]
    for name in ("config.conf", "kubeconfig.conf"):
        mount = {"name": "config", "mountPath": f"/var/lib/kube-proxy/{name}", "subPath": name, "readOnly": True}
        assert mount in agent["volumeMounts"]
    assert {"name": "config", "configMap": {"name": "kube-proxy"}} in one(objects, "DaemonSet")["spec"]["template"]["spec"]["volumes"]
    assert [each["name"] for each in agent["env"]] == ["NODE_NAME"]


@beside_the_plane
async def test_where_the_api_server_is_follows_from_kube_proxys_configmap(inside, plane):
    """A replacement of kube-proxy cannot use the cluster IP; kubeadm has written the real address down."""
    kubeconfig = yaml.safe_dump({"clusters": [{"name": "default", "cluster": {"server": "https://[2001:db8::1]:8443"}}]})
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "data": {"kubeconfig.conf": kubeconfig}}
    await plane.api.create(made)
    try:
        objects = inside.template(more=("--dry-run=server",))
    finally:
        await plane.api.delete(f"{collection(made)}/kube-proxy")
    said = {each["name"]: each.get("value") for each in container(objects)["env"]}
    assert (said["KUBERNETES_SERVICE_HOST"], said["KUBERNETES_SERVICE_PORT"]) == ("2001:db8::1", "8443")


def config_map(**fields):
    """Return a ConfigMap as kubeadm makes it, with fields of the configuration."""
    text = yaml.safe_dump({"kind": "KubeProxyConfiguration", "metricsBindAddress": "", "healthzBindAddress": "", **fields})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given", "namespace": "kube-system"},
            "data": {"config.conf": text, "kubeconfig.conf": "x"}}


@beside_the_plane
async def test_the_existing_configmap_is_looked_at(inside, plane):
    """That it is there, that ports are those that others are told, and what must roll the Pods."""
    server = ("--dry-run=server",)
    with pytest.raises(RefusedError, match="existingConfigMap is \"given\", but namespace \"kube-system\" has no ConfigMap"):
        inside.template("existingConfigMap=given", more=server)
    assert inside.template("existingConfigMap=given", "cleanup=true", more=server)
    annotations = set()
    for fields, settings, words in (
        ({}, ("serviceMonitor.enabled=true",), "metricsBindAddress is empty"),
        ({"metricsBindAddress": "127.0.0.1:10249"}, ("serviceMonitor.enabled=true",), "does not reach metrics"),
        ({"metricsBindAddress": "0.0.0.0:9"}, ("serviceMonitor.enabled=true",), "Prometheus is told metrics.port"),
        ({"healthzBindAddress": "0.0.0.0:9"}, (), "both must name the same port"),
        ({"metricsBindAddress": "0.0.0.0:10249"}, ("serviceMonitor.enabled=true",), ""),
        ({}, (), ""),
    ):
        made = config_map(**fields)
        await plane.api.create(made)
        try:
            if words:
                with pytest.raises(RefusedError, match=words):
                    inside.template("existingConfigMap=given", *settings, more=server)
            else:
                template = one(inside.template("existingConfigMap=given", *settings, more=server), "DaemonSet")["spec"]["template"]
                annotations.add(template["metadata"]["annotations"]["pointsman.dev/config"])
        finally:
            await plane.api.delete(f"{collection(made)}/given")
    assert len(annotations) == 2


@beside_the_plane
async def test_notes_say_what_to_look_at_next(inside):
    def notes(*settings):
        sets = [word for setting in settings for word in ("--set", setting)]
        return inside.run("install", "tried", CHART, "--dry-run=client", "--namespace", "kube-system", *sets)

    assert "rollout status daemonset/tried-pointsman" in notes(API)
    assert "No config.clusterCIDR is given" in notes(API)
    assert "No config.clusterCIDR" not in notes(API, "config.clusterCIDR=10.244.0.0/16")
    assert "helm -n kube-system uninstall tried" in notes(API, "cleanup=true")


def test_the_dashboard_arrives_whole(helm):
    found = one(helm.template(API, *MONITORING), "ConfigMap", "pointsman-dashboard")
    assert json.loads(found["data"]["pointsman.json"]) == json.loads((CHART / "files/dashboard.json").read_text())


def test_a_package_of_the_chart_installs_as_its_folder_does(helm, tmp_path):
    helm.run("package", CHART, "--destination", tmp_path)
    [archive] = tmp_path.glob("pointsman-*.tgz")
    text = helm.run("template", "pointsman", archive, "--namespace", "kube-system", "--set", API)
    assert [each for each in yaml.safe_load_all(text) if each] == helm.template(API)
    listed = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True).stdout
    assert "files/clusterrole.yaml" in listed
