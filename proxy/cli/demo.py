"""`pointsman demo`: a small cluster in network namespaces on this machine, routed by real agents, and every outcome compared.

This module reads options and prints; `pointsman.proxy.demo.session` does the work.
"""

import asyncio
import os
import sys

import click
from pointsman.proxy.config import VARIANTS
from pointsman.proxy.demo import broken, manifests, scene, session, show, stay
from pointsman.proxy.demo.agents import AgentError
from pointsman.proxy.demo.faults import Fault, names_of, of
from pointsman.proxy.demo.lab_namespace import LabError
from pointsman.proxy.modes import MODES
from rich.console import Console

EPILOG = """\b
What you see: for every Service of the shop (examples/shop), who asks, which endpoints answered how often, which source
address they saw, and what the oracle expects, which is the definition of Service semantics. Then one endpoint is
removed: how long it still gets new connections, and whether established ones break.

\b
With --break a fault is planted in one node, and what users see of it is told: find it with `pointsman explain`, `diff` or `doctor`.

\b
Nothing of this machine is changed: everything lives in network namespaces that are removed in the end, also on Ctrl-C.

\b
Exit status:
  0    everything was as expected
  1    something differed, or it cannot be done here
  2    the command line is wrong
  130  interrupted
"""


@click.command("demo", epilog=EPILOG)
@click.option(
    "--proxy-mode", "mode", type=click.Choice(list(MODES)), default="iptables", show_default=True, help="How to program the kernel.",
)
@click.option("--iptables-variant", "variant", type=click.Choice(VARIANTS), default="auto", show_default=True, help="Which iptables.")
@click.option("--keep", is_flag=True, help="Leave the cluster running; prints how to look around and how to remove it.")
@click.option(
    "--break", "fault", type=click.Choice(names_of()), help="Plant a fault in one node and leave the cluster running, for you to find it.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Form of the output.")
def command(mode: str, variant: str, keep: bool, fault: str | None, output: str) -> int:
    """Build two nodes and a small shop, send real traffic, and compare every outcome with the definition."""
    if os.geteuid() != 0:
        raise click.ClickException("the demonstration makes network namespaces and needs root; try it with sudo")
    if fault:
        chosen = next((one for one in of(mode) if one.name == fault), None)
        if chosen is None:
            raise click.UsageError(f"--break {fault} is not for mode {mode}; there are: {', '.join(names_of(of(mode)))}")
        return stay.run(lambda leave: _break(mode, variant, chosen, leave))
    if keep:
        return stay.run(lambda leave: _run(mode, variant, output, leave))
    return _run(mode, variant, output, None)


def _break(mode: str, variant: str, fault: Fault, leave: stay.Stay) -> int:
    """Plant a fault and stay; return the exit status."""
    console = Console(highlight=False)

    def kept(stood: session.Stage) -> None:
        console.print(broken.riddle(stood, fault), soft_wrap=True, markup=False)
        leave(0)

    try:
        snapshot = manifests.load(manifests.SHOP)
        asyncio.run(broken.perform(mode, variant, show.Screen(scene.pods(snapshot), console), snapshot, fault=fault, keep=kept))
    except (LabError, AgentError, manifests.ManifestError, scene.SceneError) as error:
        raise click.ClickException(str(error)) from error
    except asyncio.CancelledError:
        raise click.Abort from None
    return 0


def _run(mode: str, variant: str, output: str, leave: stay.Stay | None) -> int:
    """Run the demonstration and return the exit status."""
    as_json = output == "json"
    console = Console(stderr=True, highlight=False) if as_json else Console(highlight=False)

    def finish(report: session.Report) -> int:
        if as_json:
            sys.stdout.buffer.write(show.document(mode, variant, report.findings, report.removed, names, looked=report.lookups) + b"\n")
            sys.stdout.buffer.flush()
        screen.say(verdict(report, mode, variant))
        return 0 if report.passed else 1

    def kept(stood: session.Stage, report: session.Report) -> None:
        status = finish(report)
        assert leave is not None
        screen.say(session.notes(stood))
        leave(status)

    try:
        snapshot = manifests.load(manifests.SHOP)
        names = scene.pods(snapshot)
        screen = show.Screen(names, console)
        report = asyncio.run(session.perform(mode, variant, screen, snapshot, keep=kept if leave else None, table=not as_json))
    except (LabError, AgentError, manifests.ManifestError, scene.SceneError) as error:
        raise click.ClickException(str(error)) from error
    except asyncio.CancelledError:
        raise click.Abort from None
    return (0 if report.passed else 1) if leave else finish(report)


def verdict(report: session.Report, mode: str, variant: str) -> str:
    """Return the last line: what it all came to."""
    wrong = sum(bool(one.differences) for one in report.findings)
    sent = sum(one.sent for one in report.findings)
    text = f"{len(report.findings)} questions, {sent} connections, {mode} ({variant}), {report.seconds:.1f} s"
    if report.passed:
        return f"PASSED: all as expected; {text}"
    broken = "" if report.removed is None or report.removed.passed else "; the removal of an endpoint was not clean"
    broken += "" if report.lookups is None or report.lookups.passed else "; names were not found, or queries for them were lost"
    return f"FAILED: {wrong} questions differ from what was expected{broken}; {text}"
