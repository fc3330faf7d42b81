"""The shop's manifests: where they are, what they say, and how one endpoint is taken out of them.

The folder is `examples/shop/` of the source; a link beside this module leads there, so a wheel carries the files too. The demonstration
works on a copy. A change is one rename of one file, as careful tools write; so both families' slices change at once, and the time of the
change is known.
"""

import shutil
from pathlib import Path

import yaml
from pointsman.kube.folder import Folder, parse_file
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
    files = Folder(str(folder))
    for file in sorted(folder.glob("*.yaml")):
        files.put(parse_file(files.place(file.name), file.name, 0, file.read_bytes(), None))
    batch = files.take_all()
    if batch.problems:
        raise ManifestError("\n".join(map(str, batch.problems)))
    return advance(EMPTY, batch)[0]


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
