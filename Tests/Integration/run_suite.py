"""Runs the test_*.py of one folder and writes its counts as "passed failed skipped" to a file.

    run_suite.py FOLDER COUNTS [NAME...]      NAME as unittest takes it, for example test_streams.Ends
"""

import faulthandler
import pathlib
import sys
import time
import unittest

SECONDS_FOR_ONE_TEST = 300


class Result(unittest.TextTestResult):
    """Counts single outcomes, shows how long each test took, and ends the run if one hangs."""

    passed = 0

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()
        self.before = len(self.failures) + len(self.errors)
        # Python threads cannot be interrupted: show where they are and leave. run.sh counts it as a failure.
        method = getattr(test, getattr(test, "_testMethodName", ""), None)
        seconds = getattr(method, "allowed_seconds", SECONDS_FOR_ONE_TEST)
        faulthandler.dump_traceback_later(seconds * self.slowness, exit=True)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        took = time.monotonic() - self.started
        if took > 5:
            self.stream.writeln(f"  ({took:.1f} s)")
        super().stopTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    folder, counts = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    sys.path.insert(0, str(folder))
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    import harness

    Result.slowness = harness.SLOWNESS
    counts.write_text("0 1 0\n")
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(sys.argv[3:]) if sys.argv[3:] else loader.discover(str(folder))
    print(f"seed {harness.SEED} (SKUPPER_TEST_SEED={harness.SEED} repeats it)", flush=True)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len({str(test) for test, _ in result.failures + result.errors})
    counts.write_text(f"{result.passed} {failed} {len(result.skipped)}\n")
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
