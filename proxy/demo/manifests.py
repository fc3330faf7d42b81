"""The shop's manifests: where they are, what they say, and how one endpoint is taken out of them.

The folder is `examples/shop/` of the source; a link beside this module leads there, so a wheel carries the files too. The demonstration
works on a copy. A change is one rename of one file, as careful tools write; so both families' slices change at once, and the time of the
change is known.
"""

import shutil
from pathlib import Path

import yaml
from pointsman.kube.events import Batch, Problem, Replace
from pointsman.kube.folder import parse_file
from pointsman.kube.objects import KINDS, Kind, KubeObject
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

SHOP = Path(__file__).with_name("shop")
"""The manifests of the shop."""


class ManifestError(Exception):
    """The folder cannot be used; the text names file, line and field."""


def copy(folder: Path, place: Path) -> Path:
    """Copy a folder's manifests into a new folder below `place` and return it; raises ManifestError if there are none."""
    made = place / "manifests"
    made.mkdir()
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ManifestError(f"{folder}: no manifests (*.yaml) in this folder")
    for file in files:
        shutil.copyfile(file, made / file.name)
    return made


def load(folder: Path) -> Snapshot:
    """Return what a folder says; raises ManifestError if anything in it is wrong."""
    values: dict[Kind, list[KubeObject]] = {kind: [] for kind in Kind}
    problems: list[Problem] = []
    for file in sorted(folder.glob("*.yaml")):
        parsed = parse_file(str(file), file.name, 0, file.read_bytes(), None)
        problems += parsed.problems
        for _, value in parsed.stated():
            values[KINDS[type(value)]].append(value)
    if problems:
        raise ManifestError("\n".join(map(str, problems)))
    return advance(EMPTY, Batch(tuple(Replace(kind, tuple(found)) for kind, found in values.items())))[0]


def without_endpoint(folder: Path, pod: str) -> tuple[Path, Path]:
    """Write a file anew without a pod's endpoints, beside it; return the draft, and the file that a rename of it replaces.

    Raises ManifestError if no EndpointSlice has such an endpoint.
    """
    for file in sorted(folder.glob("*.yaml")):
        documents = list(yaml.safe_load_all(file.read_text()))
        found = False
        for document in documents:
            if document.get("kind") == "EndpointSlice":
                kept = [one for one in document["endpoints"] if one.get("targetRef", {}).get("name") != pod]
                found = found or len(kept) < len(document["endpoints"])
                document["endpoints"] = kept
        if found:
            draft = file.with_suffix(".new")
            draft.write_text(yaml.safe_dump_all(documents, sort_keys=False))
            return draft, file
    raise ManifestError(f"{folder}: no EndpointSlice has an endpoint of Pod {pod}")
