"""SIGTERM, SIGINT and SIGHUP end a process cleanly with exit code 6, whatever it does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from pipeline.runtime.signals import ABANDONED, BEGINS_ANEW, GRACE_S, SIGNALS, STOPPED
from tests.support.federation import Federation
from tests.support.marked_process import Marked, marked

WITHIN_S = 10.0  # what batch systems give at the least

START = """
import os, signal, subprocess, sys, threading, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it (nohup), and that is inherited
from pipeline.commands.options import interruptible
import pipeline.runtime.signals
def started():
    print("started", flush=True)
def child():
    # a process that ends neither by itself nor by a signal that can be ignored
    code = "import signal, time; signal.signal(15, 1); signal.signal(2, 1); print('up', flush=True); time.sleep(900)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    return process
"""


def run(body: str) -> Marked:
    """Start a Python process with this code, and wait for its first line."""
    process = marked([sys.executable, "-P", "-c", START + body])
    assert process.popen.stdout is not None
    assert process.popen.stdout.readline() == "started\n", process.popen.communicate()
    return process


def ended(process: Marked, *, within_s: float = WITHIN_S) -> str:
    """The process's stderr, after it ended in time with code 6 and left no child."""
    code = process.end(within_s)
    _, said = process.popen.communicate()
    assert code == ExitCode.NOT_YET, said
    assert process.alive() == []
    return said


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_each_signal_is_a_clean_end(number: signal.Signals):
    """A waiting process ends at once, with code 6 and the message that the same command goes on."""
    process = run("with interruptible():\n    started()\n    time.sleep(900)")
    process.popen.send_signal(number)
    assert ended(process) == f"hocket: {STOPPED}\n"


def test_blocks_are_left_in_order():
    """`finally` blocks are run once, even if more signals come."""
    process = run(
        "with interruptible():\n"
        "    try:\n        started()\n        time.sleep(900)\n"
        "    finally:\n        os.kill(os.getpid(), 15); os.kill(os.getpid(), 2); print('tidied', file=sys.stderr)"
    )
    process.popen.terminate()
    assert ended(process) == f"tidied\nhocket: {STOPPED}\n"


def test_no_process_below_is_left():
    """No child is left, even one with its own session that ignores signals, nor a child's child."""
    inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(900)'])"
    process = run(
        f"with interruptible():\n    child()\n    subprocess.Popen([sys.executable, '-c', {inner!r}])\n"
        "    started()\n    time.sleep(900)"
    )
    process.wait_for_processes(4)
    process.popen.terminate()
    ended(process)


@pytest.mark.slow
def test_a_long_call_of_a_library_is_abandoned():
    """In a long call of a library the process and its children end after GRACE_S, with the message."""
    body = (
        "import hashlib\nwith interruptible():\n    child()\n    started()\n"
        "    hashlib.pbkdf2_hmac('sha256', b'x', b'x', 2_000_000_000)"  # half an hour in C
    )
    process = run(body)
    process.wait_for_work(0.3)  # it is in that call
    began = time.monotonic()
    process.popen.terminate()
    assert ended(process) == f"hocket: {ABANDONED}\n"
    assert time.monotonic() - began >= GRACE_S


@pytest.mark.parametrize("work", ["time.sleep(900)", "log.write('more')"], ids=["at rest", "while it writes"])
def test_a_stderr_that_nobody_reads_holds_up_no_stop(work: str):
    """If nobody reads stderr, as under `2>&1 | less`, the process and its children still end after GRACE_S."""
    process = run(
        "from pipeline.runtime.log import Log\nlog = Log()\n"
        "os.set_blocking(2, False)\ntry:\n    while True:\n        os.write(2, b'.' * 512)\n"
        "except BlockingIOError:\n    os.set_blocking(2, True)\n"
        f"with interruptible(log, 0.5):\n    child()\n    started()\n    {work}"
    )
    try:
        process.wait_for_processes(2)
        process.popen.terminate()
        assert process.end(WITHIN_S) == ExitCode.NOT_YET
        assert process.alive() == []
    finally:
        process.popen.kill()
    process.popen.communicate()


@pytest.mark.parametrize(
    "lose",
    ["raise ValueError('as a library would')", "pass", "sys.exit(0)"],
    ids=["another error", "nothing", "an end"],
)
def test_an_interrupt_that_got_lost_is_still_a_stop(lose: str):
    """A library that raises another error from the interrupt changes neither code nor message."""
    process = run(
        "with interruptible():\n    try:\n        started()\n        time.sleep(900)\n"
        f"    except KeyboardInterrupt:\n        {lose}"
    )
    process.popen.terminate()
    assert ended(process) == f"hocket: {STOPPED}\n"


def test_nothing_holds_up_the_end():
    """The end waits neither for a thread nor for a library's exit handler."""
    process = run(
        "import atexit\natexit.register(time.sleep, 900)\nthreading.Thread(target=time.sleep, args=[900]).start()\n"
        "with interruptible():\n    started()\n    time.sleep(900)"
    )
    process.popen.terminate()
    assert ended(process) == f"hocket: {STOPPED}\n"  # and not ABANDONED, after the grace


def test_an_ignored_hangup_stays_ignored():
    """Under nohup SIGHUP is ignored."""
    process = run(
        "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with interruptible():\n    started()\n    print('going on', sys.stdin.readline(), end='')\n"
    )
    process.popen.send_signal(signal.SIGHUP)
    said, _ = process.popen.communicate("done\n")
    assert (process.popen.returncode, said) == (0, "going on done\n")


@pytest.mark.parametrize(
    "last", ["wait()", "threading.Thread(target=wait).start()", "__import__('atexit').register(wait)"]
)
def test_a_signal_after_the_work_changes_nothing(last: str):
    """From the end of its work on a signal does not change a command's exit code: 0."""
    process = run(
        "from pipeline.cli import main\ndef wait():\n    started(); sys.stdin.readline()\n"
        f"@main.command()\ndef work():\n    with interruptible():\n        pass\n    {last}\n"
        "sys.argv = ['hocket', 'work']\nmain()"
    )
    for number in SIGNALS:
        process.popen.send_signal(number)
    process.popen.communicate("done\n")
    assert process.popen.returncode == 0


@pytest.mark.parametrize(
    ("body", "grace_s"),
    [("time.sleep(900)", 60.0), ("__import__('hashlib').pbkdf2_hmac('sha256', b'x', b'x', 2_000_000_000)", 0.1)],
    ids=["at once", "abandoned"],
)
def test_a_command_of_one_step_does_not_say_that_it_goes_on(body: str, grace_s: float):
    """The message of a one-step command says that its next start begins again."""
    process = run(
        "from pipeline.runtime.log import Log\n"
        f"with interruptible(Log(), {grace_s}, goes_on=False):\n    started()\n    {body}"
    )
    if grace_s < 1:
        process.wait_for_work(0.3)  # it is in that call
    process.popen.terminate()
    assert ended(process) == f"hocket: {BEGINS_ANEW}\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "prepare"])
def test_predictions_and_preparation_are_such_commands(done: Federation, tmp_path: Path, command: str):
    """Commands stopped while they standardise structures leave no file, and say that they begin again."""
    (tmp_path / "out").mkdir()
    new, config = tmp_path / "new.csv", str(done.config("P01"))
    rows = [f"n{i},{'C' * (i % 40 + 1)}N{'C' * (i // 40 + 1)}O\n" for i in range(2400)]
    new.write_text("input_compound_id,smiles\n" + "".join(rows))
    options = [str(new)] if command == "predict" else ["--structures", str(new)]
    output = str(tmp_path / "out" / ("out.csv" if command == "predict" else "made"))
    process = marked(done.command(command, config, *options, "--output", output))
    process.wait_for_processes(2)  # the second standardises
    process.popen.terminate()
    said = ended(process)
    assert said.splitlines()[-1] == f"hocket: {BEGINS_ANEW}"
    assert "go on" not in said
    assert list((tmp_path / "out").iterdir()) == []


def test_after_the_block_signals_are_as_before():
    """After the block the signals are as before, as this process needs them."""
    from pipeline.commands.options import interruptible  # noqa: PLC0415

    before = [signal.getsignal(number) for number in SIGNALS]
    with interruptible():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_as_json_the_stop_is_a_line(tmp_path: Path):
    """As JSON the last line says why the run ended."""
    process = run(
        "from pipeline.runtime.log import Log\nwith interruptible(Log(as_json=True, member='P01')):\n"
        "    started()\n    time.sleep(900)"
    )
    process.popen.terminate()
    assert f'"member": "P01", "message": "{STOPPED}"' in ended(process)
    assert list(tmp_path.iterdir()) == []


def test_a_process_started_meanwhile_is_killed_too():
    """A child's child that starts between the look and the kill, and so loses its parent, is killed as well."""
    inner = (
        "import os, signal, subprocess, sys, time\n"
        "late = [sys.executable, '-c', 'import time; time.sleep(900)']\n"
        "start = lambda *_: print(subprocess.Popen(late, stderr=subprocess.DEVNULL).pid, flush=True)\n"
        "signal.signal(signal.SIGUSR1, start)\n"
        "print('up', flush=True)\nwhile True:\n    time.sleep(900)"
    )
    process = run(
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\nkill = os.kill\n"
        "def kill_late(number, how):\n"
        "    if number == child.pid and not late:\n"
        "        kill(number, signal.SIGUSR1); late.append(int(child.stdout.readline()))\n"
        "    kill(number, how)\n"
        "late, os.kill = [], kill_late\n"
        "pipeline.runtime.signals.kill_descendants()\nassert late\nstarted()\nsys.stdin.readline()"
    )
    alive = process.alive()
    process.popen.communicate("done\n")
    assert len(alive) == 1  # the process itself
    assert process.popen.returncode == 0


def test_only_processes_below_are_killed():
    """Only descendants are killed, not siblings; tested in a separate process."""
    code = (
        "import subprocess, sys; from pipeline.runtime.signals import kill_descendants\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(900)'])\n"
        "kill_descendants(); print(child.wait())"
    )
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"]) as sibling:
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == f"{-signal.SIGKILL}\n"
        assert sibling.poll() is None
        sibling.kill()
