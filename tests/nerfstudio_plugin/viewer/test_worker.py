"""Jobs one after the other."""

import threading

from nerfstudio_plugin.viewer.worker import Worker


def test_jobs_run_in_the_order_they_came():
    worker, done = Worker(), []
    for number in range(5):
        worker.submit(lambda number=number: done.append(number))
    assert worker.waiting
    assert done == []
    assert worker.run_pending()
    assert done == [0, 1, 2, 3, 4]
    assert not worker.waiting
    assert not worker.run_pending()


def test_a_job_may_submit_another_which_runs_after_those_that_wait():
    worker, done = Worker(), []

    def first():
        worker.submit(lambda: done.append("last"))
        done.append("first")
        assert worker.waiting

    worker.submit(first)
    worker.submit(lambda: done.append("second"))
    worker.run_pending()
    assert done == ["first", "second", "last"]


def test_after_start_jobs_run_in_one_thread_of_their_own():
    worker, threads = Worker(), []
    worker.submit(lambda: threads.append(threading.current_thread()))
    worker.start()
    worker.start()
    worker.submit(lambda: threads.append(threading.current_thread()))
    assert worker.wait(10)
    assert threads[0] is threads[1]
    assert threads[0] not in (threading.current_thread(), None)


def test_waiting_for_a_job_that_runs():
    worker, go = Worker(), threading.Event()
    worker.start()
    worker.submit(lambda: go.wait(10) and None)
    assert not worker.wait(0.05)
    go.set()
    assert worker.wait(10)


def test_nothing_to_wait_for():
    assert Worker().wait(0)
