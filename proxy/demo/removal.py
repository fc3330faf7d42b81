"""One endpoint goes: how long it still gets new connections, and whether any established one breaks.

Connections to every backend are established first and exchange all the time, and new ones are opened one after the other, in both families.
Then the endpoint is taken out of the manifests; the last new connection that still meets it gives the time, to within the few milliseconds
that one takes. An endpoint that left its slices is still alive, so its established connections must go on (SEM-24).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from pointsman.proxy.demo import manifests
from pointsman.proxy.demo.judgement import place_of
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_stream import Stream
from pointsman.proxy.demo.scene import Case
from pointsman.routing.packet import Outcome
from pointsman.routing.route import Family, Protocol

STREAMS_EACH = 2
"""Established connections per backend, at least, in each family."""

TRIES = 200
INTERVAL_SECONDS = 0.01
BEFORE_SECONDS = 0.2
"""How long connections are opened before the change."""

QUIET = 80
"""After so many new connections in a row without it, the endpoint is taken to be gone."""

LIMIT_SECONDS = 60.0
STALL_SECONDS = 30.0


class Removal(Struct, frozen=True):
    """What was measured.

    The Service port; the pod that went; milliseconds by family until its last new connection (None: it went on getting them); established
    connections, how many of them led to the pod, how many exchanges went through, and how many connections broke.
    """

    subject: str
    pod: str
    milliseconds: dict[str, float | None]
    streams: int
    streams_to_pod: int
    exchanges: int
    broken: int

    @property
    def passed(self) -> bool:
        """Return whether new connections left the pod and nothing broke."""
        return self.broken == 0 and None not in self.milliseconds.values()


def choose(questions: list[tuple[Case, Outcome]]) -> list[tuple[Case, Outcome]]:
    """Return the question by which the removal is measured, once per family: a TCP cluster IP with most backends; empty if none fits."""
    fitting = [
        (case, outcome)
        for case, outcome in questions
        if case.protocol is Protocol.TCP and len(outcome.shares) > 1 and not outcome.affinity_seconds
    ]
    if not fitting:
        return []
    best = max(fitting, key=lambda question: len(question[1].shares))[0]
    same = [question for question in fitting if question[0].subject == best.subject and question[0].sender == best.sender]
    first = {case.family: (case, outcome) for case, outcome in reversed(same)}
    return [first[family] for family in Family if family in first]


async def measure(lab: Laboratory, folder: Path, questions: list[tuple[Case, Outcome]], tell: Callable[[str], None]) -> Removal:
    """Take the last backend of a Service away, as `choose` found it, and return what was measured. Raises OSError if nothing connects."""
    case, outcome = questions[0]
    gone = outcome.shares[-1]
    place, pod = place_of(gone, lab.topology), gone.backend.pod
    streams = [stream for question in questions for stream in await _establish(lab, *question)]
    draft, file = await asyncio.to_thread(manifests.without_endpoint, folder, pod)
    changed: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        exchanging = [group.create_task(stream.keep_exchanging(INTERVAL_SECONDS)) for stream in streams]
        asking = [group.create_task(_last_met(lab, one, place, changed)) for one, _ in questions]
        await asyncio.sleep(BEFORE_SECONDS)
        tell(f"removing {pod} from {case.subject}")
        changed.set_result(asyncio.get_running_loop().time())
        draft.rename(file)
        lasts = await asyncio.gather(*asking)
        broken = await _stalled(streams)
        for task in exchanging:
            task.cancel()
    return Removal(
        subject=case.subject,
        pod=pod,
        milliseconds={one.family.value: last for (one, _), last in zip(questions, lasts, strict=True)},
        streams=len(streams),
        streams_to_pod=sum(_leads_to(stream, place) for stream in streams),
        exchanges=sum(stream.exchanged for stream in streams),
        broken=broken,
    )


async def _last_met(lab: Laboratory, case: Case, place: str, changed: asyncio.Future[float]) -> float | None:
    """Open new connections until the change is long past; return milliseconds from it to the last that met a place, None if it goes on."""
    clock = asyncio.get_running_loop().time
    last, others = 0.0, 0
    while others < QUIET:
        asked = clock()
        result = await lab.probe(case.sender.place, case.destination, case.port, case.protocol, timeout_seconds=2.0)
        if not changed.done():
            continue
        since = asked - changed.result()
        if result.backend == place:
            last, others = max(since, 0.0), 0
        else:
            others += 1
        if since > LIMIT_SECONDS:
            return None
    return round(last * 1000, 1)


async def _establish(lab: Laboratory, case: Case, outcome: Outcome) -> list[Stream]:
    """Return established connections, some to every backend."""
    streams: list[Stream] = []
    places = {place_of(share, lab.topology) for share in outcome.shares}
    for _ in range(TRIES):
        if all(sum(_leads_to(stream, place) for stream in streams) >= STREAMS_EACH for place in places):
            break
        streams.append(await lab.stream(case.sender.place, case.destination, case.port))
    return streams


async def _stalled(streams: list[Stream]) -> int:
    """Return how many connections do not exchange any more, waiting for each as long as a lost packet would take to be sent again."""
    before = [stream.exchanged for stream in streams]
    for _ in range(int(STALL_SECONDS / INTERVAL_SECONDS)):
        waiting = sum(stream.exchanged < count + 2 for stream, count in zip(streams, before, strict=True))
        if not waiting:
            return 0
        await asyncio.sleep(INTERVAL_SECONDS)
    return waiting


def _leads_to(stream: Stream, place: str) -> bool:
    return stream.answer is not None and stream.answer.place == place
