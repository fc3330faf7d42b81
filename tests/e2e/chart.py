"""The chart, rendered by the real helm."""

import subprocess
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/pointsman"
API = "api.host=192.0.2.1"


class RefusedError(Exception):
    """helm refused; the text says why."""


class Helm:
    """helm, with the chart."""

    def __init__(self, program, prefix=(), **environment):
        self.program, self._prefix, self._environment = program, tuple(map(str, prefix)), environment

    def run(self, *arguments):
        """Return helm's output. Raises RefusedError."""
        command = (*self._prefix, str(self.program), *map(str, arguments))
        with tempfile.TemporaryDirectory(prefix="pointsman-helm-") as home:  # what it keeps there is of no use to the next one
            surroundings = {"HOME": home, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._environment}
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=surroundings)
        if ended.returncode:
            raise RefusedError(ended.stderr + ended.stdout)
        return ended.stdout

    def template(self, *settings, values=None, more=()):
        """Return the objects of the chart for settings (`a.b=c`) and values by path."""
        sets = [word for setting in settings for word in ("--set", setting)]
        extra = [word for path, value in (values or {}).items() for word in ("--set-json", f"{path}={value}")]
        text = self.run("template", "pointsman", CHART, "--namespace", "kube-system", *sets, *extra, *more)
        return [document for document in yaml.safe_load_all(text) if document]

    def lint(self, *settings):
        """Judge the chart, for settings. Raises RefusedError."""
        return self.run("lint", "--strict", CHART, *(word for setting in settings for word in ("--set", setting)))


def one(objects, kind, name=None):
    """Return the only object of a kind (and a name)."""
    [found] = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def container(objects, name="pointsman"):
    """Return a container of the DaemonSet, of either kind."""
    spec = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    [found] = [each for each in (*spec.get("initContainers", ()), *spec["containers"]) if each["name"] == name]
    return found
