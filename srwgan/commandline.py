"""What the scripts share: errors of one line, numbers, and a start without TensorFlow's own messages."""

import argparse
import gc
import math
import os
import re
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are a single line, without the usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def one_line(error, source=None):
    """An exception as the one line to show, which names the file `source` that it is about."""
    line = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, (ValueError, OSError, ImportError, MemoryError)):
        line = f"{type(error).__name__}: {line}"
    return line if source is None or str(source) in line else f"{source}: {line}"


@contextmanager
def one_line_errors(parser):
    """Ends the command with status 2 and one line where the block raises an error that an input can cause."""
    try:
        yield
    except BrokenPipeError:  # no input's fault, see `run_command`
        raise
    except (ValueError, OSError, ImportError, MemoryError) as error:
        parser.error(one_line(error))


def print_line(line):
    """Prints a line to stderr, above a progress bar where there is one."""
    if "tqdm" not in sys.modules:  # nobody made a bar
        print(line, file=sys.stderr)
        return
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def run_command(main):
    """Calls a command's `main` and exits with the status that it returns.

    Where the reader of the output has gone, as `head` does after its lines, the command ends quietly, with the status
    that a shell gives to a program that SIGPIPE ended. Ctrl-C ends it with one line and status 130.
    """
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it exits
        status = 128 + 13  # SIGPIPE's number, which Windows does not have
    except KeyboardInterrupt:
        print_line("Interrupted.")
        status = 128 + signal.SIGINT
    sys.exit(status)


def goes_on(name, work):
    """The exit status of `work()`, a long command that goes on where it was when it is called again.

    SIGTERM interrupts it as Ctrl-C does. An error that inputs cause is one line and status 2.

    Args:
        name: of the command, which begins its lines.
        work: a function that gives the exit status.
    """
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return work()
    except (ValueError, OSError) as error:
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped. The same command goes on.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, handler)


def whole(least=-math.inf, most=math.inf):
    """An argparse type: an int, of at least `least` and at most `most`."""
    return number(int, "a whole number", least, most)


def real(least=-math.inf, most=math.inf, above=False):
    """An argparse type: a float, of at least `least`, or above it, and at most `most`."""
    return number(float, "a number", least, most, above)


def number(kind, expected, least, most=math.inf, above=False):
    if most < math.inf:
        expected += f" from {least} to {most}"
    elif least > -math.inf:
        expected += f" above {least}" if above else f" of {least} or more"

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or (above and value == least):
            raise argparse.ArgumentTypeError(f"Received: {text}. Expected {expected}.")
        return value

    return convert


def exit_at_interrupt():
    """From now on, until `raise_at_interrupt`, Ctrl-C ends the process at once, with one line and status 130.

    It is for the seconds in which libraries are imported. Some of them swallow a KeyboardInterrupt that is raised
    inside of an import, others make it another error. And nothing is there yet that needs tidying up.

    Returns:
        Whether it is so: in another thread than the first, or where Ctrl-C is ignored, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        return False
    signal.signal(signal.SIGINT, _exit_now)
    return True


def raise_at_interrupt():
    """From now on Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _exit_now:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_now(number, frame):
    os.write(_terminal, b"Interrupted.\n")
    os._exit(128 + number)


_terminal = 2  # the file descriptor of stderr, another one while `quiet_start` holds that one back


def leave_garbage():
    """From now on, until `collect_garbage`, Python searches for no garbage.

    It is for imports, nearly all of which stays: Python would search it again and again while it grows.
    """
    gc.disable()


def collect_garbage():
    """After `leave_garbage`: Python searches for garbage again, but not in what is there by now, not even at its exit.

    Where it was searching, nothing changes.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def quiet_start(among_others: bool = False):
    """Imports TensorFlow faster and without its messages.

    Holds back what TensorFlow's libraries print to stderr while they load. Where loading fails, it is shown.

    TF_CPP_MIN_LOG_LEVEL=0 or 1 in the environment asks for what they print. At 2 and above they print some of it all
    the same, before they read the variable.

    Args:
        among_others: other threads may print meanwhile: what does not look like a library's line is shown at the end.

    Meanwhile Ctrl-C ends the process, see `exit_at_interrupt`, and no garbage is collected, see `leave_garbage`.
    """
    global _terminal
    before = signal.getsignal(signal.SIGINT)
    changed, hurried = exit_at_interrupt(), gc.isenabled() and "tensorflow" not in sys.modules
    if hurried:
        leave_garbage()
    try:
        with _held_back(among_others) as _terminal:
            yield
    finally:
        _terminal = 2
        if hurried:
            collect_garbage()
        if changed:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _held_back(among_others):
    """Gives a file descriptor of the stderr that is held back."""
    if "tensorflow" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
        yield 2
        return
    with stderr_held_back(among_others) as stderr:
        yield stderr
        import tensorflow as tf

        tf.config.list_physical_devices()  # loads the drivers, which is where most is printed


@contextmanager
def stderr_held_back(among_others: bool = False):
    """Holds back what libraries print to stderr, and shows it where the block fails.

    Several threads may do so at once: stderr is back when the last of them is done.

    Gives a file descriptor of the stderr that is held back.

    Args:
        among_others: see `quiet_start`.
    """
    stderr, is_shown = _held.hold(), _is_others if among_others else lambda line: False
    try:
        yield stderr
    except Exception:
        is_shown = lambda line: True  # noqa: E731
        raise
    finally:
        _held.release(is_shown)


class _HeldStderr:
    """Stderr on its way to a file, for as long as somebody holds it."""

    def __init__(self):
        self._lock, self._holders, self._file, self._stderr = threading.Lock(), 0, None, None

    def hold(self):
        with self._lock:
            if not self._holders:
                sys.stderr.flush()
                self._stderr, self._file = os.dup(2), tempfile.TemporaryFile()
                os.dup2(self._file.fileno(), 2)
            self._holders += 1
            return self._stderr

    def release(self, is_shown):
        """Lets go, and shows those lines so far that `is_shown`."""
        sys.stderr.flush()
        with self._lock:
            self._file.seek(0)
            os.write(self._stderr, b"".join(filter(is_shown, self._file.read().splitlines(keepends=True))))
            self._holders -= 1
            if not self._holders:
                os.dup2(self._stderr, 2)
                os.close(self._stderr)
                self._file.close()


_held = _HeldStderr()
LIBRARIES_LINE = re.compile(rb"[IWEF]\d{4} |\d{4}-\d\d-\d\d |WARNING: All log messages|INFO: ")


def _is_others(line):
    return not LIBRARIES_LINE.match(line)
