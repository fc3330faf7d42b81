"""Where the API server is and as whom to ask it: kubeconfig, `--master`, or the ServiceAccount of the Pod around this process (PROC-08).

The library reads the files and runs credential plug-ins; this module decides when. Tokens and certificates are replaced under a running
agent (a ServiceAccount's token about every hour), so everything is read again for the first request after a minute, and for any after
a refusal; time is monotonic: a clock that is set back must not keep an old token in use. A plug-in is only run again when what it gave
has expired. Which certificates are in force is a value (`Access.identity`), so that `client` knows when its TLS context is out of date.

Errors say which file, and what to do about it.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final

import yaml
from msgspec import Struct
from pointsman.kube.detour import proxy_for
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.library import Configuration, Library, Loader

FRESH_SECONDS: Final = 60.0
"""So long files are not looked at again, unless the server refuses what they held."""

_LIBRARY_LOGGER: Final = "kubernetes.aio.config.kube_config"
_HOST: Final = "KUBERNETES_SERVICE_HOST"

Identity = tuple[object, ...]
"""What a TLS session depends on; equal identities may share one."""


class Place(Struct, frozen=True):
    """Where to look: the kubeconfig file and the server's URL (either may be empty), and the environment of this process."""

    kubeconfig: str = ""
    master: str = ""
    environ: Mapping[str, str] = os.environ


class Access:
    """The configuration in force. `refresh` reads it, also for the first time."""

    def __init__(self, place: Place, library: Library) -> None:
        self._place = place
        self._library = library
        self._configuration = library.configuration()
        self._loader: Loader | None = None
        self._loaded: tuple[int, int, int] | None = None
        self._user: dict[str, Any] = {}
        self._read_at: float | None = None

    @property
    def configuration(self) -> Configuration:
        """Return the library's configuration, as last read."""
        return self._configuration

    @property
    def host(self) -> str:
        """Return the server's URL without a slash at its end."""
        return self._configuration.host.rstrip("/")

    @property
    def authorization(self) -> str:
        """Return the Authorization header, empty if there is none (client certificates need none)."""
        return self._configuration.api_key.get("BearerToken", "").strip()

    @property
    def identity(self) -> Identity:
        """Return what a TLS session depends on, files with their time and size."""
        found = self._configuration
        files = tuple((name, _stamp(name)) for name in (found.ssl_ca_cert, found.cert_file, found.key_file) if name)
        return (found.host, files, found.ca_cert_data, found.verify_ssl, found.tls_server_name, found.proxy)

    def outdated(self, now: float) -> bool:
        """Return whether the files should be read again; `now` is monotonic."""
        return self._read_at is None or not 0 <= now - self._read_at < FRESH_SECONDS

    def distrust(self) -> None:
        """Have everything read again before the next request, and plug-ins run: the server did not accept what they gave."""
        self._read_at = None
        self._loader = None

    async def refresh(self, now: float) -> None:
        """Read everything again. Raises ApiConfigError with what is wrong; what was read before then stays in force."""
        configuration = self._library.configuration()
        configuration.disable_strict_ssl_verification = True  # many a cluster's CA lacks extensions that Go does not ask for
        try:
            if self._place.kubeconfig:
                await self._read_kubeconfig(configuration)
            elif not self._place.master:
                self._read_service_account(configuration)
        except self._library.error as error:
            raise ApiConfigError(f"{self._described()}: {error}") from error
        except (OSError, yaml.YAMLError, ValueError) as error:
            raise ApiConfigError(f"{self._described()} cannot be used: {error}") from error
        except (TypeError, AttributeError, KeyError) as error:  # the library takes the form of the file for granted
            raise ApiConfigError(f"{self._described()} is not in the form of a kubeconfig ({error})") from error
        if self._place.master:
            configuration.host = _url(self._place.master, secure=bool(configuration.ssl_ca_cert or configuration.cert_file))
        configuration.proxy = configuration.proxy or proxy_for(configuration.host, self._place.environ)
        self._configuration = configuration
        self._read_at = now
        _keep(configuration)

    async def _read_kubeconfig(self, configuration: Configuration) -> None:
        path = self._path()
        stamp = _stamp(str(path))
        if stamp is None:
            raise ApiConfigError(f"kubeconfig {path}: no such file; give the path of a kubeconfig with --kubeconfig")
        path.read_bytes()  # an unreadable file shall be told as that
        with _overheard() as said:
            if self._loader is not None and stamp == self._loaded:
                await self._loader.load_and_set(configuration)
            else:
                self._loader = await self._library.kubeconfig(str(path), client_configuration=configuration, persist_config=False)
                self._loaded, self._user = stamp, _user(path)
        if not configuration.host.startswith(("http://", "https://")):
            raise ApiConfigError(f"kubeconfig {path}: {configuration.host!r} is no URL; the cluster's server is written https://host:port")
        if (name := self._user.get("tokenFile")) and self._user.get("token"):  # the library takes the token, client-go the file
            configuration.api_key["BearerToken"] = f"Bearer {(path.parent / name).read_text()}"
        command = (self._user.get("exec") or {}).get("command", "")
        if command and not (configuration.api_key.get("BearerToken") or configuration.cert_file):
            raise ApiConfigError(f"kubeconfig {path}: the credential plug-in {command!r} gave neither a token nor a certificate"
                                 f"{''.join(f'; {line}' for line in said)}")

    def _path(self) -> Path:
        return Path(self._place.kubeconfig).expanduser()

    def _read_service_account(self, configuration: Configuration) -> None:
        if not self._place.environ.get(_HOST):
            raise ApiConfigError(
                "no API server is known: this process does not run in a Pod (KUBERNETES_SERVICE_HOST is not set) and --kubeconfig is not "
                "given; name a kubeconfig with --kubeconfig FILE, or read a folder with --manifests DIR"
            )
        self._library.in_cluster(
            self._library.token_file, self._library.ca_file, try_refresh_token=False, environ=self._place.environ
        ).load_and_set(configuration)

    def _described(self) -> str:
        """Return what was being read, for people."""
        return f"kubeconfig {self._place.kubeconfig}" if self._place.kubeconfig else "the ServiceAccount of this Pod"


def _user(path: Path) -> dict[str, Any]:
    """Return the user that the current context of a kubeconfig names."""
    document = yaml.safe_load(path.read_bytes())
    context = _named(document, "contexts", document.get("current-context")).get("context") or {}
    return _named(document, "users", context.get("user")).get("user") or {}


def _named(document: dict[str, Any], field: str, name: object) -> dict[str, Any]:
    return next((entry for entry in document.get(field) or () if entry.get("name") == name), {})


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect what the library logs instead of raising it."""
    said: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    source = logging.getLogger(_LIBRARY_LOGGER)
    before = source.propagate
    source.addHandler(listener)
    source.propagate = False
    try:
        yield said
    finally:
        source.removeHandler(listener)
        source.propagate = before


def _stamp(name: str) -> tuple[int, int, int] | None:
    """Return what changes with a file's content, None if there is no such file."""
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _keep(configuration: Configuration) -> None:
    """Show that certificates which the library wrote to temporary files are in use; they are removed where nobody touches them for days."""
    for name in (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file):
        if name and Path(name).parent == Path(gettempdir()):
            with suppress(OSError):
                os.utime(name, ns=(time.time_ns(), Path(name).stat().st_mtime_ns))


def _url(master: str, *, secure: bool) -> str:
    """Return `--master` as a URL; without a scheme it is https if certificates are configured, as client-go has it."""
    return master if "://" in master else f"{'https' if secure else 'http'}://{master}"
