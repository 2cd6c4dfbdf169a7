"""The `littlecore` program: info, train, generate, predict, book."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

# Exit codes: 0 done, 2 a mistake in the arguments or the data, 130 interrupted, as shells have it; `book run` has 1 for
# a number outside its gate.
_OK, _ERROR, _INTERRUPTED = 0, 2, 130


def _parser() -> argparse.ArgumentParser:
    from . import book, generate, info, predict, train

    parser = argparse.ArgumentParser("littlecore", description="Deep learning on kernels of its own.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (info, train, generate, predict, book):
        module.add_arguments(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with `arguments` (default: the process's own) and return its exit code.

    What the user can mend (a wrong argument, a bad file, a missing extra) is one line on stderr and code 2; with
    LITTLECORE_DEBUG=1 the traceback is shown instead.
    """
    options = _parser().parse_args(arguments)
    if os.environ.get("LITTLECORE_DEBUG") == "1":
        return int(options.run(options))
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OK
    except FileNotFoundError as error:
        return _fail(f"no such file: {error.filename}" if error.filename else str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (ValueError, TypeError, ArithmeticError, ImportError, MemoryError, RuntimeError) as error:
        return _fail(" ".join(str(error).split()) or type(error).__name__)


def _fail(message: str) -> int:
    print(f"littlecore: error: {message}", file=sys.stderr)
    return _ERROR
