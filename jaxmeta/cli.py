"""The command line: `jaxmeta train | evaluate | adapt | embed | fit | compare | ...`.

Whatever is wrong with the input ends in exit status 2 and one line on stderr: which
field, what it got, what it wants. What is wrong in the user's own file is shown as Python
shows it. JAX is not touched before the input has been read.
"""

import os
import sys
import warnings
from collections.abc import Sequence

from jaxmeta.commands import COMMANDS, COMPUTES, fail, note
from jaxmeta.runs.errors import ConfigError, RunError, did_you_mean, one_line
from jaxmeta.runs.large_pages import restart_with_large_pages
from jaxmeta.runs.own_errors import in_their_words
from jaxmeta.runs.registry import Files
from jaxmeta.runs.words import split

HELP = """\
jaxmeta: learn from many tasks, so that a new one needs a handful of examples.

  jaxmeta train [RECIPE] [--option value ...]   train, test, and write a report
  jaxmeta train FILE.py:FUNCTION ...            your own learner, network or data
  jaxmeta train RUN                             go on with a run that was stopped
  jaxmeta train --fork RUN [--option value ...] another run that starts where RUN is
  jaxmeta train RECIPE --warm-start RUN ...     a new run with the network of RUN
  jaxmeta evaluate RUN [--episodes 10000] [--ways 20 --shots 5]
  jaxmeta adapt RUN --support DIR --query DIR   classify your own files
  jaxmeta adapt ... --reject [--strangers DIR]  "none of these", where it is so
  jaxmeta adapt --backbone FILE --support DIR --query DIR   photographs, no training
  jaxmeta embed --backbone FILE --data DIR --out FILE.npz   their features
  jaxmeta fit TABLE.csv --target COLUMN         a table: predictions and a report
  jaxmeta compare RUN RUN ...                   the same episodes, in pairs; a page
  jaxmeta export RUN [--out DIR]                parameters and program, for elsewhere
  jaxmeta list                                  recipes, learners, data sets
  jaxmeta new FILE.py                           a file of your own to start from

Without a recipe, train runs glyphs-protonet-5w1s: no download, about a minute.
`jaxmeta train RECIPE --help` shows its options. A run of FILE.py:FUNCTION is evaluated,
adapted, compared, exported with the same FILE.py:FUNCTION after the run.
"""


def run() -> int:
    """The command `jaxmeta`: `main`, and what computes has its memory in large pages."""
    if set(sys.argv[1:2]) & COMPUTES and not {"-h", "--help"} & set(sys.argv):
        restart_with_large_pages()
    return main()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      argv: the words after `jaxmeta`; those of the process by default.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for bad input, 130 or 143 for a run
      that was stopped by Ctrl-C or SIGTERM and has saved its state.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    files = Files()
    try:
        if words[0] not in COMMANDS:
            hint = did_you_mean(words[0], COMMANDS)
            raise ConfigError("command", repr(words[0]), f"{', '.join(COMMANDS)}{hint}")
        parts = split(words[1:])
        files.named += [
            word
            for word in (*parts.names, *(w for ws in parts.said.values() for w in ws))
            if ".py:" in word
        ]
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return COMMANDS[words[0]](parts, files)
    except ConfigError as error:
        if error.__cause__ is not None and in_their_words(error.__cause__, files):
            return 1  # it is about what the user's own file raised
        return fail(error, 2)
    except RunError as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        return fail("stopped", 130)
    except BrokenPipeError:
        # Who reads stdout has had enough (`| head`); there is nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not in_their_words(error, files):
            raise
        return 1


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    note(f"warning: {one_line(message)}")
