"""The command line, read the way Go programs read it.

kube-proxy's users bring their command lines along, so grammar is kube-proxy's too (CFG-40, CFG-41): booleans are `--flag` or
`--flag=false`, durations `1m30s`, lists are comma separated and add up when repeated, `_` in a name is `-`, and neither unknown flags nor
other arguments are accepted. Click finds the options, prints the help and completes words in shells; values are read by `flag_table` and
joined with the file by `loading`, so that everything that is wrong is told at once.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import CompletionItem
from pointsman.proxy import config_file, loading
from pointsman.proxy.config import Config
from pointsman.proxy.flag_table import Flag
from pointsman.proxy.loading import Check, Loaded, Source
from pointsman.proxy.values import duration, spelled

USAGE_STATUS = 2
"""Exit status when flags or configuration are wrong."""


class FlagCommand(click.Command):
    """A command whose options are `Flag`s: it takes Go's grammar, and keeps what it cannot place instead of stopping at the first."""

    def __init__(self, *args: object, flags: Sequence[Flag] = (), **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.flags = flags
        self.params[:0] = [_option(flag) for flag in flags]
        self.context_settings.update(ignore_unknown_options=True, allow_extra_args=True, max_content_width=120)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Translate Go's grammar to click's; a flag at the end without its value is kept as a problem for `load`."""
        ctx.meta["pointsman.problems"] = problems = []
        args = [_from_go(argument, self.flags) for argument in args]
        try:
            return super().parse_args(ctx, list(args))
        except click.BadOptionUsage as error:
            problems.append(f"{error.option_name}: needs a value")
            return super().parse_args(ctx, args[:-1])


def load(ctx: click.Context, values: Mapping[str, object], check: Check) -> Loaded:
    """Return the configuration that flags and file ask for, or end the command with everything that is wrong and exit status 2."""
    command = ctx.command
    assert isinstance(command, FlagCommand)
    texts = {flag.field: _texts(values.get(flag.field)) for flag in command.flags}
    lines = [*ctx.meta["pointsman.problems"], *_strays(ctx.args, command.flags)]
    source = None
    for name in filter(None, texts.get("config_file", ())[-1:]):
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            lines.append(f"--config={name}: cannot be read: {error.strerror}")
        else:
            source = Source(name, config_file.read(content), hashlib.sha256(content).digest())
    loaded = loading.load(command.flags, texts, source, check)
    lines += loaded.problems
    if lines:
        _refuse(ctx, lines)
    return loaded


def _option(flag: Flag) -> click.Option:
    names = [flag.short or f"--{flag.name}", flag.field]
    help = f"{flag.help}{_default(flag)}"  # noqa: A001 - click's word
    return click.Option(names, type=str, multiple=True, metavar=flag.metavar, help=help, shell_complete=partial(_complete, flag))


def _complete(flag: Flag, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what a shell may put in place of a value that is being typed."""
    if flag.metavar in ("FILE", "DIR", "PATH"):
        return [CompletionItem(incomplete, type="dir" if flag.metavar == "DIR" else "file")]
    words = ("true", "false") if flag.switch and not flag.choices else flag.choices
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _default(flag: Flag) -> str:
    """Return the default as Go would write it; nothing where it is empty, for then the help says what that means."""
    value = getattr(Config(), flag.field, "")
    return f"  [default: {spelled(value, time=flag.read is duration)}]" if value not in ("", ()) else ""


def _from_go(argument: str, flags: Iterable[Flag]) -> str:
    """Return an argument as click reads it: `_` in a name is `-`, a lone switch gets its value, and `-v=2` becomes `-v2`."""
    name, equals, value = argument.partition("=")
    argument = f"{name.replace('_', '-')}{equals}{value}" if name.startswith("--") else argument
    for flag in flags:
        if flag.switch and argument == f"--{flag.name}":
            return f"{argument}=true"
        if flag.short and argument.startswith(f"{flag.short}="):
            return flag.short + argument.removeprefix(f"{flag.short}=")
        if flag.short and (argument == f"-{flag.short}" or argument.startswith(f"-{flag.short}=")):
            return _from_go(argument[1:], (flag,))
    return argument


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, tuple | list) else ()


def _strays(arguments: Iterable[str], flags: Iterable[Flag]) -> list[str]:
    """Return a line for each argument that has no place (CFG-41); the value after an unknown flag is told with the flag."""
    lines = []
    after_flag = False
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            name = argument.partition("=")[0]
            close = get_close_matches(name, [f"--{flag.name}" for flag in flags], n=1, cutoff=0.8)
            lines.append(f"{name}: unknown flag{f'; did you mean {close[0]}?' if close else ''}")
            after_flag = "=" not in argument
        else:
            if not after_flag:
                lines.append(f"{argument!r}: unexpected argument; everything is said by flags")
            after_flag = False
    return lines


def _refuse(ctx: click.Context, lines: Sequence[str]) -> NoReturn:
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    text = "".join(f"  {line}\n" for line in lines)
    click.echo(f"{ctx.command_path}: {count} in the configuration:\n{text}Nothing was changed. See `{ctx.command_path} --help`.", err=True)
    ctx.exit(USAGE_STATUS)
