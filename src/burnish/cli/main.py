"""``burnish``: the entry point, and what exit code each outcome gets."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from burnish.cli import (
    ab_commands,
    eval_commands,
    experts_commands,
    export_commands,
    fit_commands,
    merge_commands,
    model_commands,
    redteam_commands,
    report_commands,
    review_commands,
    route_commands,
    run_commands,
    serve_commands,
    ui_commands,
)
from burnish.cli.crash import write_crash_file
from burnish.cli.data import commands as data_commands
from burnish.cli.doctor import doctor
from burnish.cli.models import commands as models_commands
from burnish.cli.shared import DEFAULT_RUNS, example, warn
from burnish.config import (
    EXIT_INPUT,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_OK,
    BurnishError,
    InputError,
    process,
)
from burnish.config.secrets import redact

STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
SIGNALLED = 130

app = typer.Typer(
    name="burnish",
    help="Take a base model through post-training, round after round, and keep what is better.",
    epilog=example("burnish run quickstart"),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run_commands.register(app)
fit_commands.register(app)
merge_commands.register(app)
experts_commands.register(app)
model_commands.register(app)
eval_commands.register(app)
export_commands.register(app)
redteam_commands.register(app)
report_commands.register(app)
serve_commands.register(app)
ui_commands.register(app)
app.add_typer(models_commands.app, name="models")
app.add_typer(ab_commands.app, name="ab")
app.add_typer(review_commands.app, name="review")
app.add_typer(route_commands.app, name="route")
app.add_typer(data_commands.app, name="data")
app.command(epilog=example("burnish doctor"))(doctor)


def main() -> None:
    """What the ``burnish`` command runs."""
    process.tune()
    # Outside a fit, which saves first, a request to terminate ends a command as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(invoke(sys.argv[1:]))


def invoke(args: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    0 done, 1 internal error with a crash file, 2 bad input, 3 interrupted and resumable,
    4 gate refused.
    """
    try:
        app(list(args), prog_name="burnish")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_OK
        return _interrupted() if code == SIGNALLED else code
    except KeyboardInterrupt:
        return _interrupted()
    except BurnishError as error:
        if process.rank() == 0:
            _explain(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001
        return _unexpected(error, args)
    return EXIT_OK


def _explain(error: BurnishError) -> None:
    if isinstance(error, InputError) and len(error.problems) > 1:
        warn(f"{len(error.problems)} problems:", style="bold red")
        for problem in error.problems:
            warn(f"  {problem}")
    else:
        warn(f"{error}", style="red")


def _interrupted() -> int:
    if process.rank() == 0:
        warn("interrupted; the same command continues where it stopped", style="yellow")
    return EXIT_INTERRUPTED


def _unexpected(error: Exception, args: Sequence[str]) -> int:
    if isinstance(error, OSError) and error.errno in STORAGE:
        place = error.filename or Path.cwd()
        warn(f"{place}: {(error.strerror or 'cannot be written').lower()}", style="red")
        return EXIT_INPUT
    path = write_crash_file(error, args, DEFAULT_RUNS / "crashes")
    said = redact(f"{type(error).__name__}: {error}", os.environ)
    warn(f"internal error: {said}", style="red")
    warn(f"details (without secrets): {path}")
    return EXIT_INTERNAL


if __name__ == "__main__":
    main()
