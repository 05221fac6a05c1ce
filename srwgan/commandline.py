"""What the scripts share: errors of one line, and a start without TensorFlow's own messages."""

import argparse
import os
import sys
import tempfile
from contextlib import contextmanager


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are a single line, without the usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


@contextmanager
def quiet_start():
    """Holds back what TensorFlow's libraries print to stderr while they load; shown if that fails."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            import tensorflow as tf

            tf.config.list_physical_devices()  # loads the drivers, which is where most is printed
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
