import threading
import time

import pytest

from nanogfl.data.cache.ahead import map_ahead


def test_results_come_in_order_and_few_wait():
    started, lock = [], threading.Lock()

    def work(number):
        with lock:
            started.append(number)
        time.sleep(0.002 * (number % 3))
        return number * number

    results = []
    for result in map_ahead(work, range(60), threads=3):
        results.append(result)
        if len(results) == 1:
            time.sleep(0.2)  # whoever takes them is slow
        assert len(started) - len(results) <= 4 * 3 + 1
    assert results == [number * number for number in range(60)]
    assert list(map_ahead(work, [], threads=2)) == []


def test_an_error_arrives_and_the_rest_is_not_begun():
    started = []

    def work(number):
        started.append(number)
        if number == 0:
            raise KeyError("first")
        time.sleep(0.02)

    with pytest.raises(KeyError, match="first"):
        list(map_ahead(work, range(1000), threads=4))
    assert len(started) < 12  # of the 17 that are handed out before the first is taken
