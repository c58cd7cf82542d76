"""The command group: import commands on demand, and report every failure in one line.

Exit codes: 0 done, 1 failed or a check found a mismatch, 2 usage, 3 a batch with failures, 4
refused by a limit, 130 interrupted, 143 terminated, 129 hung up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

import click

from convcli import __version__
from convcli.cli.report.terminal import print_message
from convcli.cli.standard_streams import prepare_standard_streams
from convcli.errors import ConvError, did_you_mean, one_line, printable, shortened
from convcli.options import PRODUCT_THREADS
from convcli.system import STOP_SIGNALS, exit_code

COMMANDS = {
    "apply": "Filter an image, an array or a volume with a kernel.",
    "batch": "Filter many files in parallel.",
    "formats": "List the file formats that convcli reads and writes.",
    "shape": "Compute the output shape of a convolution or a whole network.",
    "kernels": "List, show, draw and export the named kernels.",
    "explain": "Show how one output is computed, product by product.",
    "animate": "Animate a sliding kernel on your own data.",
    "grad": "Compute the gradients of a loss through a convolution.",
    "gradcheck": "Check a convolution's gradients by central differences.",
    "laws": "Check the laws of convolution on your own data.",
    "bench": "Time the methods against each other and against other libraries.",
    "lesson": "Take a guided tour of convolution, or its quiz.",
    "guide": "Read the manual, one page per topic.",
    "completion": "Print the completion script for your shell.",
    "help": "Show the help of a command, or of convcli itself.",
}
INTERRUPTED = exit_code(signal.SIGINT)


class Group(click.Group):
    """A group whose commands are modules that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"convcli.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS) or "see 'convcli --help'"
            raise click.UsageError(
                f"no command {args[0]!r}; expected one of {', '.join(COMMANDS)}; {hint}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _before_click():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _before_click():
            return super().invoke(ctx)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command line and exit with its code; `--debug` shows the traceback too."""
        words = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        prepare_standard_streams()
        for name in PRODUCT_THREADS:  # the engine has its own threads; a BLAS pool competes
            os.environ.setdefault(name, "1")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # they are meant for programmers
        with contextlib.suppress(ValueError):  # signals cannot be handled outside the main thread
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                    signal.signal(number, _terminate)
        try:
            code = super().main(words, prog_name or "convcli", **extra)
            if sys.stdout is not None:  # it is None if the shell closed it: >&-
                sys.stdout.flush()
        except BaseException as error:
            quiet = (SystemExit, BrokenPipeError, click.Abort)
            if "--debug" in words and not isinstance(error, quiet):
                _print_traceback(error)
            code = _report_error(error, as_json="--json" in words)
        sys.exit(code if isinstance(code, int) else 0)


def _print_traceback(error: BaseException) -> None:
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        click.echo(printable(line), err=True)


@contextlib.contextmanager
def _before_click() -> Iterator[None]:
    """Handle interrupts and closed pipes before click does.

    click would print an empty line for an interrupt, and exit with 1 for a closed pipe.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise click.Abort from None
    except BrokenPipeError:
        raise SystemExit(_close_stdout(0)) from None


def _report_error(error: BaseException, *, as_json: bool) -> int:
    """Report an error in one line on stderr, in words or as JSON. Returns its exit code."""
    fail = partial(_print_error, as_json=as_json)
    match error:
        case BrokenPipeError():
            return _close_stdout(0)
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):  # raised by Rich
            return _close_stdout(0)
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case OSError() if error.filename is None and _working_folder_is_gone():
            return fail(
                "the working directory is gone; expected one that exists; change to another (cd)", 2
            )
        case OSError() if error.filename is None:
            return _close_stdout(
                fail(f"standard output cannot be written; {error.strerror or error}", 1)
            )
        case OSError(errno=errno.ENAMETOOLONG):
            remedy = "choose a shorter one"
            length = len(os.path.basename(os.fspath(error.filename)))  # noqa: PTH119
            given = f"a file name of {length:,} characters"
            return fail(f"{given}; expected what the file system allows; {remedy}", 2, hint=remedy)
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message())
            return 0
        case click.ClickException():
            message = _usage(error)
            *before, last = message.split("; ")
            return fail(message, error.exit_code, hint=last if before else "")
        case click.Abort() | KeyboardInterrupt():
            return fail("interrupted", INTERRUPTED)
        case ConvError():
            return fail(str(error), error.exit_code, hint=error.remedy)
        case MemoryError():
            remedy = "give a smaller one, or a larger --stride"
            return fail(f"not enough memory for this input; {remedy}", 4, hint=remedy)
        case _:
            found = f"{type(error).__name__}: {error}"
            return fail(
                f"{found}; this is a fault of convcli's own; run again with --debug and report it",
                1,
            )


def _working_folder_is_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same call
    except FileNotFoundError:
        return True
    return False


def _usage(error: click.ClickException) -> str:
    """Return click's message as one line, with a pointer to the help if it has none."""
    message = error.format_message().strip().rstrip(".")
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context is not None:
        known = [name for param in context.command.params for name in param.opts]
        message = one_line(f"no option {error.option_name}", did_you_mean(error.option_name, known))
    return (
        message
        if context is None or ";" in message
        else f"{message}; see '{context.command_path} --help'"
    )


def _print_error(message: str, code: int, *, as_json: bool, hint: str = "") -> int:
    message, hint = shortened(" ".join(message.split())), shortened(hint)
    try:  # so that what was printed before the error comes before it where both streams are one
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        _close_stdout(code)
    with contextlib.suppress(OSError):  # stderr may be closed or full; the exit code remains
        if as_json:
            click.echo(_error_json(message, code, hint), err=True)
        else:
            print_message("Error:", "red", message)
    return code


def _error_json(message: str, code: int, hint: str) -> str:
    """Return an error as one JSON object; hint: what to do, null if nothing is known to help.

    >>> _error_json("stride 0; expected 1 or more", 2, "")[-65:]
    '"error": "stride 0; expected 1 or more", "code": 2, "hint": null}'
    """
    import json

    from convcli.cli.report.text import json_head

    return json.dumps({**json_head("error"), "error": message, "code": code, "hint": hint or None})


def _close_stdout(code: int) -> int:
    """Redirect stdout to the null device, so that Python's shutdown reports no broken pipe."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stdout has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(exit_code(number))


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: convcli apply photo.jpg -k blur --padding same -o soft.jpg",
)
@click.version_option(__version__, "-V", "--version", prog_name="convcli")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def main() -> None:
    """Filter pictures, arrays and volumes, compute shapes and check gradients."""
