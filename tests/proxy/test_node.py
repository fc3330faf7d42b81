import asyncio
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec
from pointsman.proxy import node
from pointsman.proxy.facts import Host
from pointsman.proxy.node import Addresses, addresses_in, adjust_oom_score, read_addresses, read_host, watch_addresses
from pointsman.routing.route import Family

V4, V6 = Family.IPV4, Family.IPV6


def message(family: int, scope: int, *attributes: tuple[int, str]) -> codec.Message:
    body = struct.pack("=BBBBI", family, 24, 0, scope, 1)
    body += b"".join(codec.attribute(kind, socket.inet_pton(family, address)) for kind, address in attributes)
    return codec.Message(20, 0, 1, 0, memoryview(body))


def test_a_dump_is_read_into_sorted_addresses_of_each_family() -> None:
    answer = [
        message(socket.AF_INET, 0, (1, "10.0.0.2"), (2, "10.0.0.2")),
        message(socket.AF_INET, 0, (1, "10.9.9.9"), (2, "10.0.0.1")),  # point-to-point: IFA_ADDRESS is the peer's
        message(socket.AF_INET6, 0, (1, "fd00::1")),
        message(socket.AF_INET6, 253, (1, "fe80::1")),
        message(socket.AF_INET6, 254, (1, "::1")),
        codec.Message(20, 0, 1, 0, memoryview(b"\x02\x00")),
    ]
    assert addresses_in(answer) == {V4: ("10.0.0.1", "10.0.0.2"), V6: ("::1", "fd00::1")}


def test_liberal_tcp_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "read_sysctl", lambda _: 1)
    assert node.looked_again(Host("n1")) == Host("n1", tcp_be_liberal=True)


def test_cfg_18_the_memory_shortage_score_is_written_or_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adjust_oom_score(-999, tmp_path / "score")
    assert (tmp_path / "score").read_text() == "-999\n"
    with caplog.at_level("INFO"):
        adjust_oom_score(-999, tmp_path / "absent" / "score")
    assert "stays as it is" in caplog.text


async def test_the_running_kernel_is_read() -> None:
    host = await read_host()
    assert host.name == socket.gethostname()
    assert host.addresses == await read_addresses()
    assert set(host.addresses) == {V4, V6}


class Kernel:
    """Answers readings one after the other; an exception is raised."""

    def __init__(self, *answers: Addresses | KernelError) -> None:
        self.answers: Iterator[Addresses | KernelError] = iter(answers)

    async def read(self) -> Addresses:
        answer = next(self.answers, None)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, KernelError):
            raise answer
        assert answer is not None
        return answer


async def test_a_change_between_the_first_reading_and_the_watch_is_not_missed() -> None:
    watch = watch_addresses({V4: ("10.0.0.1",)}, Kernel({V4: ("10.0.0.2",)}).read, settle=0)
    assert await anext(watch) == {V4: ("10.0.0.2",)}
    await watch.aclose()  # type: ignore[attr-defined]


async def test_pain_88_a_list_that_fails_keeps_the_last_good_one_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    kernel = Kernel(KernelError(ErrorKind.OTHER, "no"), KernelError(ErrorKind.OTHER, "no"), {V4: ("10.0.0.2",)})
    watch = watch_addresses({V4: ("10.0.0.1",)}, kernel.read, settle=0, retry=0)
    assert await anext(watch) == {V4: ("10.0.0.2",)}
    assert "keeping the last known addresses" in caplog.text
    await watch.aclose()  # type: ignore[attr-defined]


async def test_equal_addresses_are_no_change() -> None:
    same: Addresses = {V4: ("10.0.0.1",)}
    changed = asyncio.Event()
    changed.set()
    settled = node._settled(same, changed, Kernel(same).read, 0, 0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(settled), 0.05)  # type: ignore[arg-type]
