"""Calls the worker of `tasks.py` in every way that a broker takes part in; says "all well"."""
from celery import chain, group

from tasks import add, app, fail, redelivered, succeed_at_third

LIMIT = 60

assert add.delay(2, 3).get(LIMIT) == 5
assert not redelivered.delay().get(LIMIT)

try:
    fail.delay("on purpose").get(LIMIT)
except ValueError as error:
    assert str(error) == "on purpose"
else:
    raise AssertionError("the task's exception did not come back")

assert succeed_at_third.delay().get(LIMIT) == 2
assert add.apply_async((1, 1), countdown=0.5).get(LIMIT) == 2
assert add.apply_async((4, 4), priority=5, expires=60).get(LIMIT) == 8
assert chain(add.s(1, 2), add.s(10), add.s(100))().get(LIMIT) == 113

many = group(add.s(n, n) for n in range(200))()
assert many.get(LIMIT) == [2 * n for n in range(200)]

large = "x" * 1_000_000  # several frames each way
assert add.delay(large, "y").get(LIMIT) == large + "y"

# Remote control: a fanout to every worker, answers by a reply queue.
(pong,) = app.control.ping(timeout=5)
assert list(pong.values()) == [{"ok": "pong"}], pong
(registered,) = app.control.inspect(timeout=5).registered().values()
assert "tasks.add" in registered, registered
print("all well")
app.control.shutdown()
