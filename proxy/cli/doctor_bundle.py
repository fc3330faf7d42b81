"""What a report of a defect needs, in one file: findings, differences, the wanted picture, rules, sets, settings. No secrets.

Nothing is packed that holds one: kubeconfig files, tokens, certificates and Secrets are never read, and of the configuration the paths of
such files are kept, not their content. Lines that programs print are left out if they hold a key (`stable_secret`, from which the kernel
makes the ends of IPv6 addresses, RFC 7217). Addresses and names of Services and pods are in it, and the first file says so.
"""

import errno
import io
import os
import platform
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct
from pointsman.iptables.run import find_program
from pointsman.proxy.comparison import DiffReport
from pointsman.proxy.known import Known

_COMMANDS = (
    ("iptables-legacy-save", "-c"), ("ip6tables-legacy-save", "-c"), ("iptables-nft-save", "-c"), ("ip6tables-nft-save", "-c"),
    ("ipset", "save"), ("ipvsadm", "-Ln", "--stats"), ("ip", "address"), ("ip", "route"), ("ip", "-6", "route"), ("nft", "list", "tables"),
    ("sysctl", "-a", "-r", r"^net\.(ipv4\.(ip_forward|conf|vs)|ipv6\.conf|netfilter|bridge)"),
)  # fmt: skip
_SECRET = b"stable_secret"
_LIMIT = 64 * 1024 * 1024
_SECONDS = 60.0

README = """What is in here: what `pointsman doctor` and `pointsman diff` found, what the agent wants (Services, endpoints, addresses,
names of pods), this node's packet filter rules, sets, addresses, routes and network settings.
What is not: credentials, Secrets, logs.
"""


@contextmanager
def opened(target: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of `target` once it is whole; until then, too, nobody else may read it.

    Open it before the work whose outcome it is to hold: where nothing can be written OSError is raised at once. So it is for what is no
    plain file: a link may be somebody else's, and a device may not be replaced.
    """
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise FileExistsError(errno.EEXIST, "what stands there is no plain file")
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # with mode 0600
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as into:
            yield into
        draft.replace(target)
    except BaseException:
        draft.unlink()
        raise


def pack(into: BinaryIO, found: Struct, differences: DiffReport | None, known: Known | None) -> int:
    """Write everything into an open file; return how many files are in it."""
    count = 0
    with tarfile.open(fileobj=into, mode="w:gz") as bundle:
        for name, content in _contents(found, differences, known):
            entry = tarfile.TarInfo(f"pointsman/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
            bundle.addfile(entry, io.BytesIO(content))
            count += 1
    return count


def _contents(found: Struct, differences: DiffReport | None, known: Known | None) -> Iterator[tuple[str, bytes]]:
    yield "README", README.encode()
    yield "machine.txt", f"{platform.platform()}\n{platform.python_version()}\n".encode()
    yield "doctor.json", _json(found)
    if differences is not None:
        yield "diff.json", _json(differences)
    if known is not None:
        yield "picture.json", _json(known.picture)
    for command in _COMMANDS:
        if program := find_program(command[0]):
            yield f"{'-'.join(command[:2]).replace('--', '-')}.txt", _printed(program, command)


def _json(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def _printed(program: str, command: tuple[str, ...]) -> bytes:
    import subprocess  # noqa: PLC0415 - only for a bundle

    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{' '.join(command)}: {error}\n".encode()
    lines = (done.stdout[:_LIMIT] + done.stderr).splitlines(keepends=True)
    return b"".join(line for line in lines if _SECRET not in line) or b"(nothing)\n"
