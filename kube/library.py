"""The parts of the official Kubernetes client that are used here, and nothing else of it.

`kubernetes.aio` reads kubeconfig files, ServiceAccounts and credential plug-ins, makes TLS contexts and HTTP sessions: that is wanted.
Importing it the usual way also runs the modules of the packages around it: a second, blocking client, its HTTP library, WebSockets and
tables of a thousand models; 20 MB and 0.2 s for what is never called. So the packages are represented by empty ones while the four modules
in question are imported, which leaves 0.5 MB and some milliseconds. Afterwards nothing of this is left in `sys.modules`: whoever imports
`kubernetes` later gets the whole of it. If it has been imported already, that is taken.

`access` and `client` use what `load` returns; its protocols are all they know of the library.
"""

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from msgspec import Struct
from pointsman.kube.errors import ApiConfigError

if TYPE_CHECKING:
    import ssl

    import aiohttp
    import yarl

ROOT = "kubernetes"
PACKAGES = ("kubernetes", "kubernetes.aio", "kubernetes.aio.client", "kubernetes.aio.config", "kubernetes.aio.utils")
"""Packages whose own modules are not run."""


class Configuration(Protocol):
    """Where the API server is and how to speak to it, as the library keeps it."""

    host: str
    api_key: MutableMapping[str, str]
    ssl_ca_cert: str | None
    ca_cert_data: str | bytes | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool
    disable_strict_ssl_verification: bool
    tls_server_name: str | None
    proxy: str | None
    client_session_kwargs: Mapping[str, object] | None


class RestResponse(Protocol):
    """An answer; `response` is aiohttp's."""

    response: "aiohttp.ClientResponse"


class RestClient(Protocol):
    """An HTTP session with its TLS context."""

    ssl_context: "ssl.SSLContext"

    async def request(
        self, method: str, url: "yarl.URL", headers: dict[str, str], body: object, *, _request_timeout: "aiohttp.ClientTimeout",
    ) -> RestResponse:
        """Send a request and return its answer when the headers are there."""
        ...

    async def close(self) -> None:
        """End the session."""
        ...


class Loader(Protocol):
    """A kubeconfig file that was read; it asks for credentials again when they have expired."""

    async def load_and_set(self, client_configuration: Configuration) -> None:
        """Fill in a configuration."""
        ...


class NewConfiguration(Protocol):
    """Makes an empty configuration."""

    def __call__(self) -> Configuration:
        """Return it."""
        ...


class NewRestClient(Protocol):
    """Makes an HTTP session of a configuration."""

    def __call__(self, configuration: Configuration) -> RestClient:
        """Return it; raises OSError and ssl.SSLError for certificates that cannot be used."""
        ...


class LoadKubeconfig(Protocol):
    """Reads a kubeconfig file."""

    async def __call__(self, config_file: str, *, client_configuration: Configuration, persist_config: bool) -> Loader:
        """Fill in a configuration."""
        ...


class InCluster(Protocol):
    """The ServiceAccount of the Pod around this process."""

    def load_and_set(self, client_configuration: Configuration) -> None:
        """Fill in a configuration."""
        ...


class NewInCluster(Protocol):
    """Looks for a ServiceAccount."""

    def __call__(
        self, token_filename: str, cert_filename: str, *, try_refresh_token: bool, environ: Mapping[str, str],
    ) -> InCluster:
        """Return where to look."""
        ...


class Library(Struct, frozen=True):
    """What is used of the library."""

    configuration: NewConfiguration
    rest: NewRestClient
    kubeconfig: LoadKubeconfig
    in_cluster: NewInCluster
    token_file: str
    ca_file: str
    error: type[Exception]


@cache
def load() -> Library:
    """Return the library; takes about a tenth of a second at the first time. Raises ApiConfigError if it is not installed."""
    spec = find_spec(ROOT)
    if spec is None or not spec.submodule_search_locations:
        raise ApiConfigError("the Python package 'kubernetes' is not installed; install pointsman with its dependencies")
    with _no_authorities():
        import_module("aiohttp")
    with _packages(spec.submodule_search_locations[0]):
        configuration = import_module("kubernetes.aio.client.configuration")
        kubeconfig = import_module("kubernetes.aio.config.kube_config")
        in_cluster = import_module("kubernetes.aio.config.incluster_config")
        rest = import_module("kubernetes.aio.client.rest")
        return Library(
            configuration=cast("NewConfiguration", configuration.Configuration),
            rest=cast("NewRestClient", rest.RESTClientObject),
            kubeconfig=cast("LoadKubeconfig", kubeconfig.load_kube_config),
            in_cluster=cast("NewInCluster", in_cluster.InClusterConfigLoader),
            token_file=str(in_cluster.SERVICE_TOKEN_FILENAME),
            ca_file=str(in_cluster.SERVICE_CERT_FILENAME),
            error=kubeconfig.ConfigException,
        )


@contextmanager
def _no_authorities() -> Iterator[None]:
    """Keep the system's authorities out of sight: aiohttp reads them twice when it is imported, for TLS contexts that nobody here uses.

    That would be 40 ms of a start and 2 MB. Contexts made afterwards find them as usual.
    """
    names = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _packages(root: str) -> Iterator[None]:
    """Let empty packages stand for the library's while the body imports from them; leave no trace."""
    if ROOT in sys.modules:
        yield
        return
    for name in PACKAGES:
        package = ModuleType(name)
        package.__path__ = [root + name.removeprefix(ROOT).replace(".", "/")]
        sys.modules[name] = package
    try:
        configuration = import_module("kubernetes.aio.client.configuration")
        sys.modules["kubernetes.aio.client"].__dict__.update(Configuration=configuration.Configuration, ApiClient=object)
        yield
    finally:
        for name in list(sys.modules):  # a copy at once: other threads import as well
            if name == ROOT or name.startswith(f"{ROOT}."):
                del sys.modules[name]
