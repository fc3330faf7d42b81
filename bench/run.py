"""`make bench`: what pointsman costs at scale, beside its goals, the kernel's own share, and what kube-proxy costs.

    run.py           1,000 and 10,000 Services x 10 endpoints, both iptables variants; under 8 minutes
    run.py --quick   1,000 only; under one minute
    run.py --write   also puts the figures into docs/performance.md

Needs root and two cores; everything happens in namespaces and a folder made for it, which are removed in the end. A machine that does other
things meanwhile gives other figures: the load is printed before and after.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cluster
import measure
import scratch
import table

ROOT = Path(__file__).parents[1]
MARKS = ("<!-- bench:begin -->", "<!-- bench:end -->")
PAGE = ROOT / "docs" / "performance.md"
VARIANTS = ("legacy", "nft")
SIZES = (1_000, 10_000)
CHANGES = {("legacy", 10_000): 150, ("nft", 10_000): 150}  # 200 otherwise
IDLE_SECONDS = {1_000: 10.0, 10_000: 20.0}
QUICK_CHANGES = 60
QUICK_IDLE = 5.0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure pointsman at scale (root).")
    parser.add_argument("--quick", action="store_true", help="1,000 Services only, fewer repetitions; under one minute")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    parser.add_argument("--services", type=int, action="append", choices=SIZES, help="measure at this size only (may be repeated)")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="measure this variant only (may be repeated)")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    asked = arguments()
    missing = [tool for tool in ("ip", "nsenter", "ipset", "iptables-legacy-restore", "iptables-nft-restore") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        print(f"bench/run.py needs root{' and ' + ', '.join(missing) if missing else ''}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleared away then too
    began, load = time.monotonic(), os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder:
            scratch.compile_ahead(Path(folder))
            tables = list(_tables(asked, Path(folder)))
    except KeyboardInterrupt:
        print("\nstopped; everything is cleared away", file=sys.stderr)
        return 130
    except scratch.BenchError as error:
        print(f"bench/run.py: {error}", file=sys.stderr)
        return 1
    took = f"{time.monotonic() - began:.0f} s; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    command = " ".join(["bench/run.py", *sys.argv[1:]])
    said = "\n".join([f"`{command}` took {took}.\n\n{machine()}\n", *tables, FOOT])
    print(said)
    if asked.write:
        write(said)
    return 0


FOOT = "(*) measured earlier on the same kind of machine, not in this run; memory is kube-proxy's peak."


def _tables(asked: argparse.Namespace, folder: Path) -> Iterator[str]:
    sizes = (1_000,) if asked.quick else tuple(asked.services or SIZES)
    stages: list[table.Row] = []
    rows: dict[str, list[table.Row]] = {variant: [] for variant in asked.variant or VARIANTS}
    for services in sizes:
        size = cluster.Size(services)
        texts = folder / f"texts-{services}"
        texts.mkdir()
        say(f"{size}: stages in process")
        manifests = fresh(folder, size)
        stages += table.stage_rows(str(size), scratch.child("stages.py", [str(manifests), str(services), str(texts)]))
        for variant, found in rows.items():
            task = measure.Task(
                size, variant, fresh(folder, size), texts,
                QUICK_CHANGES if asked.quick else CHANGES.get((variant, services), 200),
                QUICK_IDLE if asked.quick else IDLE_SECONDS[services],
            )
            found.extend(table.rows(variant, services, str(size), variant_figures(task, folder)))
    yield table.text("Stages, in one process", stages)
    for variant, lines in rows.items():
        yield table.text(f"iptables-{variant}", lines)


def variant_figures(task: measure.Task, folder: Path) -> measure.Figures:
    """Measure one variant at one size."""
    with scratch.place(folder, "one") as here:
        found = measure.measure_one_service(fresh(folder, cluster.Size(1)), here, task.variant)
    with scratch.place(folder, "node") as here, scratch.place(folder, "bare") as bare:
        return found | measure.measure(task, here, bare, lambda what: say(f"{task.size} iptables-{task.variant}: {what}"))


def fresh(folder: Path, size: cluster.Size) -> Path:
    """Return a folder with newly written manifests."""
    manifests = folder / f"manifests-{size.services}"
    shutil.rmtree(manifests, ignore_errors=True)
    manifests.mkdir()
    cluster.write(manifests, size)
    return manifests


def say(what: str) -> None:
    """Tell what is going on, on standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {what} ...", file=sys.stderr, flush=True)


def machine() -> str:
    """Describe the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    parts = [f"{os.cpu_count()} cores", f"Linux {platform.release().split('-')[0]}", f"{memory:.0f} GiB memory"]
    return f"Machine: {', '.join(parts)}; Python {platform.python_version()}; {time.strftime('%Y-%m-%d')}."


def write(said: str, marks: tuple[str, str] = MARKS) -> None:
    """Put the figures between the marks of the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    PAGE.write_text(f"{before}{marks[0]}\n{said}\n{marks[1]}{after}")


if __name__ == "__main__":
    sys.exit(main())
