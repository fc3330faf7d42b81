from pathlib import Path

import pytest
from fakes.scratch import lock_file, namespace, shell
from pointsman.iptables.ruleset import ruleset
from pointsman.proxy import machine as reading
from pointsman.proxy.config import Config


def test_settings_are_read_and_absent_ones_are_none(tmp_path):
    folder = tmp_path / "sys/net/ipv4/conf/eth0.5"
    folder.mkdir(parents=True)
    (folder / "rp_filter").write_text("1\n")
    (tmp_path / "sys/net/ipv4/ip_forward").write_text("0\n")
    found = reading.settings(tmp_path)
    assert found.number("net.ipv4.ip_forward") == 0
    assert found.number("net.ipv4.vs.conn_reuse_mode") is None
    assert found.settings["net.ipv4.conf.eth0.5.rp_filter"] == "1"


def test_other_programs_refusals_are_found_and_ours_are_not():
    rules = ruleset([
        "*filter", ":FORWARD DROP [0:0]", ":INPUT ACCEPT [0:0]", ":KUBE-SERVICES - [0:0]", ":cali-fw - [0:0]",
        "-A FORWARD -j KUBE-SERVICES", "-A KUBE-SERVICES -j DROP", "-A cali-fw -s 10.0.0.0/8 -j DROP", "-A INPUT -j REJECT", "COMMIT",
    ], "iptables nft")  # fmt: skip
    found = {(one.owner, one.text) for one in reading.foreign_rules([rules])}
    assert found == {
        ("another program", "iptables nft: filter FORWARD has policy DROP"),
        ("Calico", "iptables nft: filter cali-fw rule 1: -s 10.0.0.0/8 -j DROP"),
        ("another program", "iptables nft: filter INPUT rule 1: -j REJECT"),
    }


def test_processes_of_this_network_namespace(tmp_path):
    own = str(Path("/proc/self/ns/net").readlink())
    for number, (name, place) in enumerate([("/usr/bin/kube-proxy", own), ("/bin/other", own), ("/x/firewalld", "net:[1]")]):
        folder = tmp_path / str(number)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns/net").symlink_to(place)
        (folder / "cmdline").write_bytes(name.encode() + b"\0--flag\0")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/net").symlink_to(own)
    assert reading.running(["kube-proxy", "firewalld"], tmp_path) == ["kube-proxy"]


def test_name_servers_and_interfaces(tmp_path):
    (tmp_path / "resolv.conf").write_text("search a\nnameserver 10.0.0.2\n# nameserver x\n")
    assert reading.nameservers(tmp_path / "resolv.conf") == ("10.0.0.2",)
    assert reading.nameservers(tmp_path / "none") == ()
    (tmp_path / "net/eth0").mkdir(parents=True)
    (tmp_path / "net/eth0/mtu").write_text("1450\n")
    assert reading.interfaces(tmp_path / "net") == {"eth0": 1450}


def test_the_clock_can_be_asked():
    assert reading.clock_synchronised() in {True, False}


@pytest.mark.kernel
async def test_a_whole_machine_is_read(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        shell("iptables-nft -P FORWARD DROP; nft add table inet other;"
              " nft 'add chain inet other guard { type filter hook forward priority 0; policy drop; }'")  # fmt: skip
        found = await reading.machine(Config())
        refusing = [one.text for one in await reading.refusing()]
    assert found.entries_max > 0
    assert "iptables nft: filter FORWARD has policy DROP" in refusing
    assert "nft inet other guard: hook forward, priority 0, policy drop" in refusing
