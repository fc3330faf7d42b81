"""What a folder of manifests says: files with their objects and faults, merged into one set of objects. Pure; `manifests` feeds it.

A file that cannot be read, or an object within it that is broken, keeps its last good state: what is half written must not take Services
down. So each file carries, besides what it says now, the objects *kept* because a fault may be about them: those that a fault names, and
all that are missing while a fault cannot say which object it is about. An empty file that held objects counts as half written.

The same object in two files is used from the first file by name, whoever was there first, and reported with both places; when the winner
goes, the next takes over. Documents of a file, and items of a JSON list, are remembered by a digest: only changed ones are decoded again.
A file of one document needs no digest: it is only read when it has changed. (Ten thousand such files are a common layout; what is kept of
each counts.)
"""

from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice

from msgspec import Struct
from pointsman.kube.decode import DecodeError, Unread
from pointsman.kube.documents import Document, read, split_json, split_yaml
from pointsman.kube.events import Batch, Event, Problem, Remove, Replace, Upsert
from pointsman.kube.objects import Kind, KubeObject, ObjectRef, ref_of

_FIRST = (1,)
"""The lines of a document's only object: one value for all such documents."""


class Fault(Struct, frozen=True, gc=False):
    """One object, or one document, that cannot be used; the line counts within its document, `ref` is None if the object is not known."""

    line: int
    subject: str
    field: str
    reason: str
    ref: ObjectRef | None


class Unit(Struct, frozen=True, gc=False):
    """One document of a file: where it begins, its objects with their lines, its faults, and how many objects are not read.

    The digest is 0 if the document is alone in its file.
    """

    line: int
    digest: int
    values: tuple[KubeObject, ...]
    lines: tuple[int, ...]
    faults: tuple[Fault, ...]
    unread: int


class ManifestFile(Struct, frozen=True, gc=False):
    """One file: its name in the folder, a stamp that changes with its content, documents, kept objects and problems.

    `blind` is true while a fault may hide an object of which no good state has been seen since the start.
    """

    name: str
    stamp: int
    units: tuple[Unit, ...] = ()
    kept: tuple[KubeObject, ...] = ()
    problems: tuple[Problem, ...] = ()
    blind: bool = False

    def objects(self) -> dict[ObjectRef, tuple[int, KubeObject]]:
        """Return the file's objects with their lines; of an object given twice the first, kept ones last."""
        found: dict[ObjectRef, tuple[int, KubeObject]] = {}
        for unit in self.units:
            for line, value in zip(unit.lines, unit.values, strict=True):
                found.setdefault(ref_of(value), (unit.line + line - 1, value))
        for value in self.kept:
            found.setdefault(ref_of(value), (1, value))
        return found

    def unread(self) -> int:
        """Return how many objects are of kinds that are not read here."""
        return sum(unit.unread for unit in self.units)

    def stated(self) -> Iterator[tuple[int, KubeObject]]:
        """Yield what the file says now, with lines, an object given twice twice."""
        for unit in self.units:
            for line, value in zip(unit.lines, unit.values, strict=True):
                yield unit.line + line - 1, value


def parse_file(place: str, name: str, stamp: int, content: bytes, former: ManifestFile | None) -> ManifestFile:
    """Return what a file says; `place` is how problems name it, `former` what it said before."""
    if former is not None and not content.strip() and former.objects():
        return unreadable(place, name, stamp, "is empty, as if half written; to remove its objects remove the file", former)
    units = _units(split_json(content) if name.endswith(".json") else split_yaml(content), former)
    stated = ManifestFile(name, stamp, units)
    now = stated.objects()
    problems = _repeated(place, stated, now) if sum(len(unit.values) for unit in units) > len(now) else []
    faults = [(unit.line + fault.line - 1, fault) for unit in units for fault in unit.faults]
    if not faults:
        return ManifestFile(name, stamp, units, (), tuple(problems))
    broken = {fault.ref for _, fault in faults}
    before = former.objects() if former else {}
    kept = {ref: value for ref, (_, value) in before.items() if ref not in now and (ref in broken or None in broken)}
    problems += [_fault_problem(place, line, fault, kept) for line, fault in faults]
    never_read = former is None or former.blind
    blind = any(never_read if ref is None else ref not in kept and ref not in now for ref in broken)
    return ManifestFile(name, stamp, units, tuple(kept.values()), tuple(problems), blind)


def unreadable(place: str, name: str, stamp: int, reason: str, former: ManifestFile | None) -> ManifestFile:
    """Return a file that cannot be read: all its former objects stay."""
    kept = tuple(value for _, value in former.objects().values()) if former else ()
    text = f"{reason}; the last good state of its {len(kept)} objects stays" if kept else reason
    return ManifestFile(name, stamp, (), kept, (Problem(place, "", "", text),), former is None or former.blind)


def _units(documents: Iterable[Document], former: ManifestFile | None) -> tuple[Unit, ...]:
    """Read documents; those that the file held before are taken over."""
    following = iter(documents)
    start = tuple(islice(following, 2))
    if len(start) == 1:
        return (_unit(start[0], 0),)
    known = {unit.digest: unit for unit in former.units} if former else {}
    units: list[Unit] = []
    for document in chain(start, following):
        kind = document.listed.value if document.listed else ""
        digest = int.from_bytes(blake2b(document.content, digest_size=8, key=kind.encode()).digest(), "big")
        unit = known.get(digest)
        if unit is None:
            unit = _unit(document, digest)
        elif unit.line != document.line:
            unit = Unit(document.line, digest, unit.values, unit.lines, unit.faults, unit.unread)
        units.append(unit)
    return tuple(units)


def _unit(document: Document, digest: int) -> Unit:
    values: list[KubeObject] = []
    lines: list[int] = []
    faults: list[Fault] = []
    unread = 0
    for placed in read(document):
        outcome = placed.outcome
        if isinstance(outcome, DecodeError):
            faults.append(Fault(placed.line, outcome.subject, outcome.field, outcome.reason, outcome.ref))
        elif isinstance(outcome, Unread):
            unread += 1
        else:
            values.append(outcome)
            lines.append(placed.line)
    return Unit(document.line, digest, tuple(values), _FIRST if lines == [1] else tuple(lines), tuple(faults), unread)


def _fault_problem(place: str, line: int, fault: Fault, kept: Collection[ObjectRef]) -> Problem:
    text = fault.reason
    if fault.ref in kept:
        text += "; its last good state stays"
    elif fault.ref is None and kept:
        text += f"; the last good state of {len(kept)} objects that are missing now stays"
    return Problem(f"{place}:{line}", fault.subject, fault.field, text)


def _repeated(place: str, file: ManifestFile, used: dict[ObjectRef, tuple[int, KubeObject]]) -> list[Problem]:
    """Return a problem for each object that stands in the file more than once."""
    found: list[Problem] = []
    for line, value in file.stated():
        ref = ref_of(value)
        first, winner = used[ref]
        if winner is not value:
            found.append(Problem(f"{place}:{line}", str(ref), "", f"stands in this file already, on line {first}; the first one is used"))
    return found


class Claim(Struct, frozen=True, gc=False):
    """A file says what an object is."""

    file: str
    line: int
    value: KubeObject


class Folder:
    """All files of a folder and what they say together; `take` returns what changed since it was last asked.

    `place` is the folder's name for people.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._files: dict[str, ManifestFile] = {}
        self._claims: dict[ObjectRef, tuple[Claim, ...]] = {}
        self._contested: set[ObjectRef] = set()
        self._former: dict[ObjectRef, KubeObject | None] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._unread = 0
        self._blind: set[str] = set()
        self._fault: Problem | None = None
        self._reported: tuple[Problem, ...] | None = None

    def place(self, name: str) -> str:
        """Return how people find a file: folder and name."""
        return f"{self._place.rstrip('/')}/{name}"

    def file(self, name: str) -> ManifestFile | None:
        """Return a file as last read."""
        return self._files.get(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of all files."""
        return tuple(self._files)

    def unread(self) -> int:
        """Return how many objects are of kinds that are not read here."""
        return self._unread

    def fail(self, reason: str) -> None:
        """Record that the folder itself cannot be read; everything stays as it was. An empty reason: it can."""
        self._fault = Problem(self._place, "", "", reason) if reason else None

    def put(self, file: ManifestFile) -> None:
        """Take in a new or changed file."""
        former = self._files.get(file.name)
        before, now = former.objects() if former else {}, file.objects()
        self._files[file.name] = file
        self._unread += file.unread() - (former.unread() if former else 0)
        (self._blind.add if file.blind else self._blind.discard)(file.name)
        self._note(file.name, file.problems)
        for ref in before.keys() - now.keys():
            self._claim(ref, file.name, None)
        for ref, (line, value) in now.items():
            if ref not in before or before[ref][1] is not value or before[ref][0] != line:
                self._claim(ref, file.name, Claim(file.name, line, value))

    def drop(self, name: str) -> None:
        """Forget a file that is gone, with its objects."""
        former = self._files.pop(name, None)
        if former is not None:
            self._unread -= former.unread()
            self._blind.discard(name)
            self._note(name, ())
            for ref in former.objects():
                self._claim(ref, name, None)

    def take_all(self) -> Batch:
        """Return everything as complete lists: one Replace for each kind."""
        self._former.clear()
        values: dict[Kind, list[KubeObject]] = {kind: [] for kind in Kind}
        for ref, claims in self._claims.items():
            values[ref.kind].append(claims[0].value)
        self._reported = self.problems()
        return Batch(tuple(Replace(kind, tuple(found)) for kind, found in values.items()), self._reported, bool(self._blind))

    def take(self) -> Batch | None:
        """Return what changed since the last call, None if nothing did."""
        events: list[Event] = []
        for ref, former in self._former.items():
            claims = self._claims.get(ref)
            if claims is None:
                if former is not None:
                    events.append(Remove(ref))
            elif claims[0].value != former:
                events.append(Upsert(claims[0].value))
        self._former.clear()
        problems = self.problems()
        news = problems if problems != self._reported else None
        self._reported = problems
        return Batch(tuple(events), news, bool(self._blind)) if events or news is not None else None

    def problems(self) -> tuple[Problem, ...]:
        """Return all that is wrong now, in a fixed order."""
        found = [self._fault] if self._fault else []
        for problems in self._problems.values():
            found.extend(problems)
        for ref in self._contested:
            winner, *losers = self._claims[ref]
            used = f"{self.place(winner.file)}:{winner.line}"
            found.extend(
                Problem(f"{self.place(loser.file)}:{loser.line}", str(ref), "", f"stands in {used} too, which is used: it is first by name")
                for loser in losers
            )
        return tuple(sorted(found))

    def _note(self, name: str, problems: tuple[Problem, ...]) -> None:
        if problems:
            self._problems[name] = problems
        else:
            self._problems.pop(name, None)

    def _claim(self, ref: ObjectRef, name: str, claim: Claim | None) -> None:
        """Replace what one file says about an object; None = nothing any more."""
        claims = self._claims.get(ref, ())
        self._former.setdefault(ref, claims[0].value if claims else None)
        others = [other for other in claims if other.file != name]
        following = sorted([*others, claim] if claim else others, key=lambda each: each.file)
        if following:
            self._claims[ref] = tuple(following)
        else:
            self._claims.pop(ref, None)
        if len(following) > 1:
            self._contested.add(ref)
        else:
            self._contested.discard(ref)
