"""kube-proxy itself and our entry point of that name read the same command lines and files (CFG-01 to CFG-41).

Both are asked to write what would be in force; neither touches anything else. They must take and refuse the same, and write the same.
Where ours differs, and on purpose, `APART` says how.
"""

import asyncio
import contextlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from click.testing import CliRunner
from plane_agent import PROGRAM
from plane_judge import VARIANTS
from plane_wait import until
from pointsman.proxy import gates
from pointsman.proxy.cli import run
from pointsman.proxy.flag_table import RUN_FLAGS

pytestmark = pytest.mark.e2e

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

FLAGS = """
--proxy-mode=ipvs | --proxy-mode=nftables | --proxy-mode= | --proxy-mode=userspace | --proxy_mode=ipvs | --proxy-mode=IPVS
--masquerade-all | --masquerade-all=false | --masquerade-all false | --masquerade-all=maybe | --masquerade-all=T
--iptables-sync-period=5s | --iptables-sync-period=0 | --iptables-sync-period=5 | --iptables-sync-period=-5s | --iptables-sync-period=1d
--iptables-sync-period=1.5h | --iptables-sync-period=1h30m | --iptables-sync-period=1500ms --iptables-min-sync-period=100us
--iptables-min-sync-period=0 | --iptables-min-sync-period=1m | --proxy-mode=ipvs --ipvs-min-sync-period=1m --ipvs-sync-period=30s
--proxy-mode=ipvs --ipvs-sync-period=0 | --ipvs-sync-period=0 | --proxy-mode=ipvs --ipvs-sync-period=9s --ipvs-min-sync-period=2s
--proxy-mode=nftables --iptables-sync-period=7s --iptables-min-sync-period=3s | --proxy-mode=nftables --nodeport-addresses=10.0.0.0/8
--cluster-cidr=10.0.0.0/8 | --cluster-cidr=10.0.0.0/8,fd00::/64 | --cluster-cidr=10.0.0.0/8,11.0.0.0/8 | --cluster-cidr=10.0.0.0
--cluster-cidr=10.0.0.0/8,fd00::/64,11.0.0.0/8 | --detect-local-mode=NodeCIDR --cluster-cidr=x | --detect-local-mode=Magic
--detect-local-mode=BridgeInterface | --detect-local-mode=BridgeInterface --pod-bridge-interface=cbr0 | --detect-local-mode=
--detect-local-mode=InterfaceNamePrefix | --detect-local-mode=InterfaceNamePrefix --pod-interface-name-prefix=cali
--nodeport-addresses=primary | --nodeport-addresses=primary,10.0.0.0/8 | --nodeport-addresses=10.0.0.1
--nodeport-addresses=10.0.0.0/8 --nodeport-addresses=fd00::/64 | --bind-address=10.0.0.1 | --bind-address=x
--healthz-bind-address=127.0.0.1:99999 | --healthz-bind-address=127.0.0.1:0 | --healthz-bind-address=[::1]:10256
--healthz-bind-address=localhost:10256 | --metrics-bind-address=0.0.0.0:9 | --profiling --bind-address-hard-fail
--iptables-masquerade-bit=31 | --iptables-masquerade-bit=32 | --iptables-masquerade-bit=-1 | --iptables-masquerade-bit=x
--iptables-masquerade-bit=0x1f | --oom-score-adj=-1000 | --oom-score-adj=1001 | --iptables-localhost-nodeports=false
--conntrack-max-per-core=0 --conntrack-min=0 | --conntrack-max-per-core=-1 | --conntrack-tcp-timeout-established=-1s
--conntrack-udp-timeout=30s --conntrack-udp-timeout-stream=2m | --conntrack-tcp-be-liberal | --config-sync-period=0
--config-sync-period=1h | --config-sync-period | --kube-api-qps=0.5 --kube-api-burst=-1 | --kube-api-qps=100 --kube-api-burst=200
--kube-api-qps=x | --kube-api-content-type=application/json | --kubeconfig=/x --master=http://y | --master=x
--feature-gates=WatchList=true | --feature-gates=WatchListClient=true,ContextualLogging=false | --feature-gates=NoSuch=true
--feature-gates=WatchList | --feature-gates=AllAlpha=true | --feature-gates=NFTablesProxyMode=true
--show-hidden-metrics-for-version=1.35 | --show-hidden-metrics-for-version=1.16 | --show-hidden-metrics-for-version=x
-v=4 | -v 4 | -v4 | --v=4 | --v=-1 | --v=99 | --v=x | --logging-format=json -v=3 | --logging-format=xml | --log-flush-frequency=3s
--vmodule=a=3 | --vmodule=a | --vmodule=a=b | --log-flush-frequency=x | --log-flush-frequency=-1s | --log-text-split-stream=maybe
--log-json-info-buffer-size=x | --version=banana | --version=v1.36.3-ours
--boot-id-file=/x --machine-id-file=/y | --nosuch | stray | --hostname-override=Node-1 | --hostname-override=
--ipvs-scheduler=random | --proxy-mode=ipvs --ipvs-exclude-cidrs=10.0.0.1 | --ipvs-exclude-cidrs=10.0.0.1 | --ipvs-strict-arp
--proxy-mode=ipvs --ipvs-tcp-timeout=-1s | --ipvs-tcp-timeout=-1s | --cleanup --init-only
"""

FILES = """
mode: ipvs | mode: '' | mode: magic | mode: 5 | mode: null | mode: no | bogus: 1 | Mode: ipvs | mode: [ | mode: ipvs # really
iptables: {masqueradeBit: 0} | iptables: {masqueradeBit: 32} | iptables: {masqueradeBit: '3'} | iptables: {masqueradeBit: 3.0}
iptables: {masqueradeBit: 3.5} | iptables: {masqueradeBit: 1e1} | iptables: null | iptables: x | iptables: [] | iptables: {typo: 1}
iptables: {syncPeriod: 0s, minSyncPeriod: 0s} | iptables: {syncPeriod: 5} | iptables: {syncPeriod: 5s, minSyncPeriod: 10s}
iptables: {minSyncPeriod: -1s} | iptables: {syncPeriod: ''} | iptables: {localhostNodePorts: false} | iptables: {localhostNodePorts: null}
ipvs: {minSyncPeriod: 10m} | mode: ipvs; ipvs: {minSyncPeriod: 10m} | mode: ipvs; ipvs: {scheduler: rr, excludeCIDRs: [10.0.0.0/8]}
ipvs: {excludeCIDRs: [x]} | mode: ipvs; ipvs: {excludeCIDRs: [x]} | mode: ipvs; ipvs: {strictARP: true, tcpTimeout: 1m, udpTimeout: 5s}
mode: nftables; nftables: {masqueradeAll: true, masqueradeBit: 5, syncPeriod: 9s} | mode: nftables; nodePortAddresses: []
mode: nftables; nodePortAddresses: [10.0.0.0/8] | nftables: {masqueradeBit: 99} | mode: nftables; nftables: {masqueradeBit: 99}
clusterCIDR: 10.0.0.0/8,fd00::/64 | clusterCIDR: x | detectLocalMode: NodeCIDR; clusterCIDR: x | clusterCIDR: [10.0.0.0/8]
bindAddress: '::' | bindAddress: x | bindAddress: '' | healthzBindAddress: 127.0.0.1 | healthzBindAddress: x | healthzBindAddress: ''
metricsBindAddress: '[::]:1' | metricsBindAddress: '::' | nodePortAddresses: [primary] | nodePortAddresses: [primary, 10.0.0.0/8]
nodePortAddresses: [10.0.0.0/8, fd00::/64] | nodePortAddresses: primary | nodePortAddresses: [''] | oomScoreAdj: 0 | oomScoreAdj: -1001
oomScoreAdj: null | conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s} | conntrack: {maxPerCore: null} | conntrack: {min: -1}
conntrack: {tcpBeLiberal: null} | conntrack: {tcpBeLiberal: 'true'} | conntrack: {udpTimeout: 30s, udpStreamTimeout: 180s}
featureGates: {WatchList: true} | featureGates: {Nope: true} | featureGates: {WatchList: 'true'} | featureGates: null
clientConnection: {qps: 0, burst: 0, contentType: ''} | clientConnection: {qps: 1.5, burst: 3} | clientConnection: {burst: -1}
clientConnection: {kubeconfig: /x, acceptContentTypes: text} | configSyncPeriod: 0s | configSyncPeriod: -1s
showHiddenMetricsForVersion: '1.35' | showHiddenMetricsForVersion: '1.30' | showHiddenMetricsForVersion: 1.35
logging: {format: json, verbosity: 3} | logging: {format: x} | logging: {flushFrequency: 5s} | logging: {flushFrequency: 5000000000}
logging: {vmodule: x} | logging: {vmodule: [{filePattern: '', verbosity: 3}]} | logging: {flushFrequency: x} | logging: {flushFrequency: 0}
logging: {flushFrequency: -1s} | logging: {options: {json: {infoBufferSize: x}}} | logging: {options: {text: {splitStream: x}}}
portRange: 5 | winkernel: {enableDSR: maybe} | winkernel: 5 | clientConnection: {acceptContentTypes: 5} | windowsRunAsService: x
logging: {verbosity: '3'} | logging: {vmodule: [{filePattern: a, verbosity: 3}]} | portRange: 1-2 | windowsRunAsService: true
winkernel: {enableDSR: true} | winkernel: {nope: true} | enableProfiling: yes | enableProfiling: 'yes' | hostnameOverride: Node-1
detectLocal: {bridgeInterface: cbr0}; detectLocalMode: BridgeInterface | detectLocalMode: BridgeInterface | mode: ipvs; mode: iptables
mode: ipvs; ---; apiVersion: pointsman.dev/v1alpha1; kind: PointsmanConfiguration; takeover: false | ipvs: {tcpTimeout: -1s}
"""

APART = {
    "--proxy-mode=ipvs": "theirs takes the shortest time between writes from iptables if flags choose ipvs; ours is the file's, 0s",
    "--proxy_mode=ipvs": "as above",
}
"""Where the two differ, and why that is right."""

ELSEWHERE = ("portRange", "winkernel", "windowsRunAsService")


def cases(table, separator="|"):
    return [case.strip() for line in table.strip().splitlines() for case in line.split(separator)]


@pytest.fixture
def compare(binaries, tmp_path):
    """Compare what both write for command lines; return the differences by name."""

    def theirs(number, arguments):
        target = tmp_path / f"theirs-{number}"
        command = [binaries / "kube-proxy", *arguments, f"--write-config-to={target}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return None if done.returncode else settings(target), done.stderr[-300:]

    def ours(number, arguments):
        target = tmp_path / f"ours-{number}"
        result = CliRunner().invoke(run.command, [*arguments, f"--write-config-to={target}"])
        return None if result.exit_code else settings(target), result.output

    def differences(lines):
        with ThreadPoolExecutor(2) as pool:
            expected = list(pool.map(theirs, range(len(lines)), lines.values()))
        for (name, arguments), number, (before, said) in zip(lines.items(), range(len(lines)), expected, strict=True):
            after, answered = ours(number, arguments)
            if (before is None) != (after is None):
                yield name, f"theirs: {said!r}, ours: {answered!r}"
            elif before and after and before != after:
                apart = [key for key in before | after if before.get(key) != after.get(key)]
                yield name, "; ".join(f"{key}: {before.get(key)} {after.get(key)}" for key in apart)

    return lambda lines: dict(differences(lines))


def settings(path):
    """Return what a file says, flat: without what only Windows has, and what only another mode reads."""
    document = next(yaml.safe_load_all(path.read_text()))
    mode = document["mode"]
    for section in {"iptables", "ipvs", "nftables"} - {mode}:
        for field in ("syncPeriod", "minSyncPeriod"):
            document[section].pop(field, None)
    document["iptables" if mode == "nftables" else "nftables"].pop("masqueradeAll")
    for field in ("flushFrequency", "options", "vmodule"):
        document["logging"].pop(field, None)
    document["clientConnection"].pop("acceptContentTypes")
    return dict(flat({key: value for key, value in document.items() if key not in ELSEWHERE}))


def flat(value, prefix=""):
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from flat(inner, f"{prefix}{key}.")
        else:
            yield prefix + key, inner


async def test_cfg_40_flags_mean_the_same_to_both(compare):
    lines = {case: case.split() for case in ["", *cases(FLAGS)]}
    assert await asyncio.to_thread(compare, lines) == dict.fromkeys(APART, "ipvs.minSyncPeriod: 1s 0s")


async def test_cfg_21_files_mean_the_same_to_both(compare, tmp_path):
    lines = {}
    for number, case in enumerate(cases(FILES)):
        path = tmp_path / f"{number}.conf"
        path.write_text(HEAD + "\n".join(line.strip() for line in case.split("; ")) + "\n")
        lines[case] = [f"--config={path}"]
    assert await asyncio.to_thread(compare, lines) == {}


async def test_cfg_22_flags_beside_a_file_mean_the_same_to_both(compare, tmp_path):
    path = tmp_path / "config.conf"
    path.write_text(HEAD + "mode: ipvs\nhostnameOverride: other\nlogging: {verbosity: 1}\n")
    given = ["--proxy-mode=iptables", "--hostname-override=X", "-v=3", "--logging-format=json", "--feature-gates=Nope=true"]
    given += ["--cluster-cidr=nonsense", "--healthz-port=0", "--master=http://x", "--bind-address=::"]
    lines = {flag: [f"--config={path}", flag] for flag in given}
    assert await asyncio.to_thread(compare, lines | {"all": [f"--config={path}", *given]}) == {}


async def test_cfg_12_and_40_every_flag_and_gate_that_kube_proxy_names_is_known(binaries):
    def ask():
        return subprocess.run([binaries / "kube-proxy", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout

    text = await asyncio.to_thread(ask)
    named = set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", text, re.MULTILINE))
    assert len(named) > 50
    assert named <= {f"--{flag.name}" for flag in RUN_FLAGS} | {"--help"}
    found = {word.split("=")[0] for word in text.split() if word.endswith("=true|false")}
    assert len(found) > 30
    assert {name.rpartition(":")[2] for name in found} <= gates.NAMES


async def test_proc_06_kube_proxy_reads_what_ours_writes(binaries, tmp_path):
    """The way back: a file that we wrote serves kube-proxy as it is."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    given = ["--proxy-mode=ipvs", "--cluster-cidr=10.0.0.0/8", "--takeover=false", f"--write-config-to={ours}"]
    assert CliRunner().invoke(run.command, given).exit_code == 0

    def read():
        command = [binaries / "kube-proxy", f"--config={ours}", f"--write-config-to={theirs}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    done = await asyncio.to_thread(read)
    assert done.returncode == 0, done.stderr
    assert "lenient" not in done.stderr
    assert settings(theirs) == settings(ours)


KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {{acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: {kubeconfig}, qps: 0}}
clusterCIDR: 10.244.0.0/16,fd00:10:244::/48
configSyncPeriod: 0s
conntrack: {{maxPerCore: 0, min: null, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null}}
healthzBindAddress: ""
metricsBindAddress: ""
mode: ""
nodePortAddresses: null
oomScoreAdj: 0
portRange: ""
"""
OURS = """\
---
apiVersion: pointsman.dev/v1alpha1
kind: PointsmanConfiguration
socket: {socket}
iptables: {{variant: {variant}}}
"""


@pytest.mark.kernel
@pytest.mark.asyncio(loop_scope="session")
async def test_dep_02_it_takes_kube_proxys_place_with_its_configmap(lab, plane, identity, tmp_path):
    """API server, account and settings come from the file; when it changes the process ends, with all rules in place."""
    node, variant = next(iter(VARIANTS.items()))
    settings_now = KUBEADM.format(kubeconfig=await identity.kubeconfig()) + OURS.format(socket=tmp_path / "agent.sock", variant=variant)
    config, log = tmp_path / "config.conf", tmp_path / "log"
    config.write_text(settings_now)
    program = PROGRAM.with_name("kube-proxy")
    environment = {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "lock")}

    def ask(*command):
        inside = lab.command(node, *command)
        return subprocess.run(inside, capture_output=True, text=True, check=False, env=environment, timeout=60).stdout

    async def programmed():
        assert process.returncode is None, log.read_text()
        if "metrics is served" not in log.read_text():  # the rules may be an earlier test's
            return False
        return "default/kubernetes:https" in await asyncio.to_thread(ask, f"iptables-{variant}-save", "-t", "nat")

    with log.open("ab") as output:
        command = lab.command(node, str(program), f"--config={config}", f"--hostname-override={node}")
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, env=environment)
    try:
        await until(programmed, 60.0, log.read_text)
        draft = tmp_path / "draft"
        draft.write_text(settings_now.replace('mode: ""', "mode: iptables"))
        draft.rename(config)
        async with asyncio.timeout(60):
            assert await process.wait() == 1
        assert "the configuration file changed" in log.read_text()
        assert "default/kubernetes:https" in await asyncio.to_thread(ask, f"iptables-{variant}-save", "-t", "nat")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await asyncio.to_thread(ask, str(PROGRAM), "cleanup")


LIMITS = (
    "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=2h", "--conntrack-tcp-timeout-close-wait=0",
    "--conntrack-udp-timeout=33s", "--conntrack-udp-timeout-stream=1m1s",
)


@pytest.mark.kernel
@pytest.mark.asyncio(loop_scope="session")
async def test_proc_05_init_only_makes_the_same_settings_as_kube_proxy(lab, plane, binaries, tmp_path):
    """Each of the two in a node of its own; afterwards the settings of both nodes are the same, and are put back."""
    theirs, ours = VARIANTS
    places = " ".join(f"/proc/sys/{place}" for place in ("net/netfilter/nf_conntrack_*", "net/ipv4/conf/all/*", "net/ipv4/ip_forward"))

    def ask(node, *command):
        inside, environment = lab.command(node, *map(str, command)), {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / f"{node}.lock")}
        done = subprocess.run(inside, capture_output=True, text=True, check=False, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def state(node):
        lines = ask(node, "sh", "-c", f"grep -H . {places}; true").splitlines()
        return {name: value for name, _, value in (line.partition(":") for line in lines) if not name.endswith("_count")}

    def put(node, wanted):
        now = state(node)
        for name, value in wanted.items():
            if now[name] != value:
                ask(node, "sh", "-c", f"echo {value} > {name}")

    before = {node: await asyncio.to_thread(state, node) for node in (theirs, ours)}
    await asyncio.to_thread(put, theirs, before[ours])  # the same beginning, whatever ran there before
    told = ("--init-only", f"--kubeconfig={plane.admin_kubeconfig()}", "--cluster-cidr=10.244.0.0/16", *LIMITS)
    try:
        await asyncio.to_thread(ask, theirs, binaries / "kube-proxy", *told, f"--hostname-override={theirs}")
        await asyncio.to_thread(ask, ours, PROGRAM.with_name("kube-proxy"), *told, f"--hostname-override={ours}")
        after = {node: await asyncio.to_thread(state, node) for node in (theirs, ours)}
    finally:
        for node, known in before.items():
            await asyncio.to_thread(put, node, known)
    assert after[ours] == after[theirs]
    assert after[ours]["/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"] == "7200"
    assert after[ours]["/proc/sys/net/ipv4/conf/all/route_localnet"] == "1"
