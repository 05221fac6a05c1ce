"""Who has the device and who waits, whose files are whose, and when they go."""

import os
import subprocess
import sys
import threading
from concurrent.futures import CancelledError as FutureCancelled
from pathlib import Path

import pytest

from tests.waiting import LIMIT
from utils.app.estimates import FIRST_GUESS, OVERHEAD, Pace
from utils.app.jobs import BusyError, CancelledError, Device, Job
from utils.app.sessions import GoneError, ServerFolder, Sessions, folder_bytes, remove_left_over


def test_jobs_run_one_at_a_time_in_order_and_a_long_one_lets_others_between():
    device, order, running = Device(10), [], []

    def work(name):
        running.append(name)
        order.append((name, len(running)))
        running.remove(name)

    gate = threading.Event()
    blocker = device.submit(Job(), gate.wait)
    many, one = Job(), Job()
    first = device.submit(many, work, "many 1")
    other = device.submit(one, work, "one")
    assert [len(device.ahead_of(job)) for job in (many, one)] == [1, 2]
    gate.set()
    blocker.result(LIMIT), first.result(LIMIT)
    device.submit(many, work, "many 2").result(LIMIT)
    other.result(LIMIT)
    assert order == [("many 1", 1), ("one", 1), ("many 2", 1)]
    assert device.ahead_of(one) is None
    device.close()


def test_a_running_job_ends_at_its_next_tile_and_a_waiting_one_at_once():
    device, started, go_on = Device(10), threading.Event(), threading.Event()
    running, waiting = Job(), Job()

    def work():
        running.progress(1, 3)
        started.set()
        go_on.wait(LIMIT)
        running.progress(2, 3)

    first, second = device.submit(running, work), device.submit(waiting, lambda: "never")
    started.wait(LIMIT)
    waiting.cancel()
    with pytest.raises(FutureCancelled):
        second.result(LIMIT)
    assert device.ahead_of(waiting) is None
    running.cancel()
    go_on.set()
    with pytest.raises(CancelledError):
        first.result(LIMIT)
    assert running.done == 1
    assert device.submit(Job(), lambda: "free").result(LIMIT) == "free"
    device.close()


def test_too_many_waiting_are_refused():
    device, gate = Device(2), threading.Event()
    started = threading.Event()
    device.submit(Job(), lambda: (started.set(), gate.wait(LIMIT)))
    started.wait(LIMIT)
    try:
        for address in "ab":
            device.submit(Job("", address), lambda: None)
        with pytest.raises(BusyError, match="2 others are waiting"):
            device.submit(Job("", "c"), lambda: None)
    finally:
        gate.set()
    device.close()


def test_one_address_cannot_hold_the_whole_queue():
    """One client joined 45 times, and the next one read that 32 others were waiting."""
    device, gate, started = Device(8), threading.Event(), threading.Event()
    device.submit(Job("page", "greedy"), lambda: (started.set(), gate.wait(LIMIT)))
    started.wait(LIMIT)
    for number in range(6):
        device.submit(Job(f"page {number}", "greedy"), lambda: None)
    with pytest.raises(BusyError, match="6 are waiting from your address"):
        device.submit(Job("page 6", "greedy"), lambda: None)
    device.submit(Job("page", "modest"), lambda: None)
    gate.set()
    device.close()


def test_turns_go_round_addresses_and_pages():
    device, gate, started, order = Device(20), threading.Event(), threading.Event(), []
    blocker = device.submit(Job("a1", "a"), lambda: (started.set(), gate.wait(LIMIT)))
    started.wait(LIMIT)
    places = [("a", "a1"), ("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b1"), ("c", "c1")]
    jobs = [Job(page, address) for address, page in places]
    futures = [device.submit(job, order.append, job.page) for job in jobs]
    assert device.ahead_of(jobs[5])[-1] is jobs[4]  # a guess: turns go round, so b1's second comes after
    gate.set()
    for future in (blocker, *futures):
        future.result(LIMIT)
    assert order == ["b1", "c1", "a2", "b1", "a1", "a1"]
    device.close()


def test_a_job_says_how_long_it_will_take():
    job = Job()
    assert job.seconds_left() is None
    job.expect(10)
    assert job.seconds_left() == 10 and job.share(10) is None
    job.take_turn()
    assert 9 < job.seconds_left() <= 10
    job.started -= 20  # longer than expected
    job._began -= 20
    assert job.seconds_left() == 0 and job.share(0) == 0.98
    job.start("Upscaling")
    job._step_started -= 4
    job.progress(2, 10)
    assert job.seconds_left() == pytest.approx(16, abs=1) and job.share(20) == pytest.approx(0.5, abs=0.02)


def test_the_pace_is_learned_from_the_files_before():
    pace = Pace()
    assert pace.seconds(("A", "auto", "image"), 2) == pytest.approx(OVERHEAD + 2 * FIRST_GUESS)
    pace.learn(("A", "auto", "image"), 0.5, OVERHEAD + 1)
    assert pace.seconds(("A", "auto", "image"), 2) == pytest.approx(OVERHEAD + 4)
    assert pace.seconds(("A", "auto", "gif"), 2) == pytest.approx(OVERHEAD + 4)  # by what is most alike
    pace.learn(("A", "auto", "gif"), 1, OVERHEAD + 10)
    assert pace.seconds(("A", "auto", "image"), 2) == pytest.approx(OVERHEAD + 4)
    assert pace.seconds(("A", "auto", "gif"), 1) == pytest.approx(OVERHEAD + 10)


# Whose files are whose


def test_equal_uploads_belong_to_each_page_alone(tmp_path):
    """When one of two pages with the same file was closed, the other's upload was gone."""
    sessions = Sessions(tmp_path)
    one, other = sessions.open("me", ""), sessions.open("you", "")
    for session in (one, other):
        (session.new_folder("uploads") / "photo.png").write_bytes(b"x")
    sessions.close(one)
    assert not one.folder.exists() and folder_bytes(other.folder) == 1
    sessions.close_all()
    assert not list(tmp_path.iterdir())


def test_a_session_answers_its_own_browser_only(tmp_path):
    sessions = Sessions(tmp_path)
    session = sessions.open("me", "")
    assert sessions.get(session.id, "me") is session
    for id, owner in ((session.id, "you"), (session.id, ""), ("other", "me")):
        with pytest.raises(GoneError):
            sessions.get(id, owner)


def test_a_page_that_nobody_listens_to_is_closed(tmp_path):
    sessions = Sessions(tmp_path, grace=10, minutes=1)
    heard, unheard, resting = (sessions.open("me", "") for _ in range(3))
    for session in (heard, unheard, resting):
        session.new_folder("uploads")
    heard.listeners = resting.listeners = 1
    unheard.unheard_since -= 11
    resting.acted_at -= 61
    job = unheard.start_job()
    sessions.close_unheard()
    assert (heard.closed, unheard.closed, resting.closed) == (False, True, True)
    assert job.cancelled and unheard.folder.exists() and not resting.folder.exists()
    unheard.end_job()
    assert list(tmp_path.iterdir()) == [heard.folder]
    (tmp_path / "stray").mkdir()  # made again by an upload whose page was just closed
    sessions.close_unheard()
    assert list(tmp_path.iterdir()) == [heard.folder]


def test_a_page_does_one_job_at_a_time(tmp_path):
    session = Sessions(tmp_path).open("me", "")
    session.start_job()
    with pytest.raises(BusyError, match="at work already"):
        session.start_job()
    session.end_job()
    session.closed = True
    with pytest.raises(BusyError, match="was closed"):
        session.start_job()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fcntl's locks")
def test_the_next_start_removes_what_a_killed_server_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = "import sys; from utils.app.sessions import ServerFolder; f = ServerFolder(); print(flush=True); input()"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    killed = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    killed.stdout.readline()
    (left,) = tmp_path.iterdir()
    with ServerFolder() as folder:
        assert left.exists() and folder.exists()  # each knows that the other is alive
        killed.kill()
        killed.communicate(timeout=LIMIT)
        remove_left_over(tmp_path)
        assert not left.exists() and folder.exists()
    assert not list(tmp_path.iterdir())
