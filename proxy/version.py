"""Which version this is, and which kube-proxy it takes the place of.

Tools read the release from `kube-proxy --version`, so it comes first and ours is its build metadata, as distributions of Kubernetes do it.
"""

import platform
from functools import cache

COMPATIBLE = "1.36.3"
"""The release of kube-proxy whose flags, files, metrics and defaults are followed."""


_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@cache
def ours() -> str:
    """Return the version of pointsman."""
    from importlib import metadata  # noqa: PLC0415 - takes 2 MB, and reading what is installed some milliseconds

    return metadata.version("pointsman")


def release() -> str:
    """Return the version as kube-proxy gives it: `v1.36.3+pointsman.0.1.0`."""
    return f"v{COMPATIBLE}+pointsman.{ours()}"


def release_before() -> str:
    """Return the release before that one, as major.minor."""
    major, minor, _ = COMPATIBLE.split(".")
    return f"{major}.{int(minor) - 1}"


def system() -> str:
    """Return the operating system and the processor as Go names them: `linux/amd64`."""
    machine = platform.machine()
    return f"{platform.system().lower()}/{_GO_NAMES.get(machine, machine)}"


def raw() -> str:
    """Return what `--version=raw` prints: the same and what it runs on, in kube-proxy's form."""
    major, minor, _ = COMPATIBLE.split(".")
    runtime = f"python{platform.python_version()}"
    return f'version.Info{{Major:"{major}", Minor:"{minor}", GitVersion:"{release()}", GoVersion:"{runtime}", Platform:"{system()}"}}'
