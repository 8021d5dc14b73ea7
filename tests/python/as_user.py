"""Logs in as a user and does what the arguments say, one line of outcome each:
as_user.py USER PASSWORD VHOST [declare QUEUE | publish EXCHANGE KEY | get QUEUE | hold QUEUE |
channel]... `hold` fetches a message and waits, without acknowledging it, until its channel is closed."""

import os
import sys

import pika


def outcome(call):
    try:
        return call()
    except pika.exceptions.AMQPConnectionError as error:
        while error.args and isinstance(error.args[0], Exception):
            error = error.args[0]
        return f"connection {getattr(error, 'reply_code', '')} {getattr(error, 'reply_text', error)}"
    except pika.exceptions.AMQPChannelError as error:
        return f"channel {error.reply_code} {error.reply_text}"


def declare(channel, queue):
    channel.queue_declare(queue, durable=True)
    return "ok"


def publish(channel, exchange, key):
    channel.confirm_delivery()
    channel.basic_publish(exchange, key, b"hello")
    return "ok"


def get(channel, queue):
    body = channel.basic_get(queue, auto_ack=True)[2]
    return "empty" if body is None else body.decode()


def hold(channel, queue):
    assert channel.basic_get(queue)[0], "there is no message to hold"
    closed = []
    channel._impl.add_on_close_callback(lambda _, reason: closed.append(reason))
    while not closed:
        channel.connection.process_data_events(time_limit=1)
    raise closed[0]


ACTIONS = {"declare": (declare, 1), "publish": (publish, 2), "get": (get, 1), "hold": (hold, 1)}

user, password, vhost, *words = sys.argv[1:]
parameters = pika.ConnectionParameters(
    "127.0.0.1",
    int(os.environ["AMQP_PORT"]),
    vhost,
    pika.PlainCredentials(user, password),
)
try:
    connection = pika.BlockingConnection(parameters)
except Exception as error:
    print(error.args[0] if error.args else repr(error))
    sys.exit()
print("open", parameters.virtual_host, connection._impl.params.frame_max)
kept = []
while words:
    word = words.pop(0)
    if word == "channel":
        print(outcome(lambda: kept.append(connection.channel()) or "ok"))
        continue
    action, count = ACTIONS[word]
    given, words = words[:count], words[count:]
    print(outcome(lambda: action(connection.channel(), *given)))
