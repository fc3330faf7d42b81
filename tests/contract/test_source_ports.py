"""Pain 14: a connection whose source port became a node port by masquerading gets its answers, and the Service does not, in every mode.

Whoever masquerades chooses among all ports from 1024 on, node ports too. Connection tracking knows the answers of such a connection before
the rules of Services, or IPVS, are met; here the port is chosen to be the node port of the shop's web Service.
"""

import asyncio
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from fakes.planted import prepare, program
from fakes.scratch import lock_file, namespace, shell

NODE_PORT, SERVER, PORT = 30080, "192.168.50.2", 7000
PATIENCE = 60.0
ANSWERING = f"""
import socket, sys
print("here", flush=True)
sys.stdin.readline()
listening = socket.create_server(("{SERVER}", {PORT}))
print("listens", flush=True)
line, (_, port) = listening.accept()
line.sendall(str(port).encode())
line.close()
"""


@contextmanager
def server():
    """A server in a namespace of its own, at the other end of the node's interface."""
    command = ["unshare", "--net", sys.executable, "-c", ANSWERING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "here\n"
            shell(f"ip link set peer netns {process.pid}")
            within = f"nsenter --net=/proc/{process.pid}/ns/net"
            shell(f"{within} ip addr add {SERVER}/24 dev peer; {within} ip link set peer up")
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.readline() == "listens\n"
            yield
        finally:
            process.kill()


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("mode", "variant", "shows"),
    [
        pytest.param("iptables", "nft", "iptables-nft-save -t nat | grep -- '--dport {} '", id="iptables"),
        pytest.param("ipvs", "legacy", "ipvsadm -Sn | grep ':{} '", id="ipvs", marks=pytest.mark.ipvs),
    ],
)
def test_pain_14_answers_to_a_masqueraded_port_are_not_the_node_ports(mode, variant, shows, monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program(mode, variant))
        assert shell(shows.format(NODE_PORT))
        shell(f"iptables-{variant} -t nat -I POSTROUTING -p tcp -d {SERVER} --dport {PORT} -j MASQUERADE --to-ports {NODE_PORT}")
        with server(), socket.create_connection((SERVER, PORT), timeout=PATIENCE) as line:
            assert line.recv(16) == str(NODE_PORT).encode()  # the server saw the node port, and its answer came here
