"""`kube-proxy`: `pointsman run` under the name that DaemonSets call, so that only the image changes.

Arguments, file, exit statuses and what is left in the kernel are those of `run`; the log and the errors say who this is.
"""

from pointsman.proxy.cli import main as entry
from pointsman.proxy.cli import run


def main() -> None:
    """Run kube-proxy's command line; the entry point of the `kube-proxy` program."""
    entry.finish(run.command, "kube-proxy")


if __name__ == "__main__":
    main()
