"""A publisher or a consumer of RabbitMQ's own client, that says what it sees of an alarm.

blocked.py publish COUNT SIZE    publishes, and waits until it is not blocked any more
blocked.py consume COUNT         consumes, and says how many came, in order
"""

import os
import sys

import pika

QUEUE = "pressure"

connection = pika.BlockingConnection(
    pika.ConnectionParameters("127.0.0.1", int(os.environ["AMQP_PORT"]))
)
channel = connection.channel()
channel.queue_declare(queue=QUEUE)

if sys.argv[1] == "publish":
    count, size = int(sys.argv[2]), int(sys.argv[3])
    blocked = []

    def on_blocked(_connection, frame):
        print("blocked:", frame.method.reason)
        blocked.append(True)

    def on_unblocked(_connection, _frame):
        print("unblocked")
        blocked.clear()

    connection.add_on_connection_blocked_callback(on_blocked)
    connection.add_on_connection_unblocked_callback(on_unblocked)
    for number in range(count):
        channel.basic_publish("", QUEUE, str(number).encode().ljust(size, b"."))
    while not blocked:
        connection.process_data_events(time_limit=1)
    while blocked:
        connection.process_data_events(time_limit=1)
else:
    for number in range(int(sys.argv[2])):
        while True:
            method, _properties, body = channel.basic_get(QUEUE, auto_ack=True)
            if method:
                break
        assert int(body.rstrip(b".")) == number, (number, body[:20])
    print("consumed", number + 1)

connection.close()
