"""redis-py and pika at both ends of a bridge: each hears what either says, once."""

import collections
import sys

import pika
import redis

redis_port, amqp_port = map(int, sys.argv[1:])
client = redis.Redis(port=redis_port, socket_timeout=30)
pubsub = client.pubsub()
pubsub.psubscribe("news.*")
assert pubsub.get_message(timeout=30)["type"] == "psubscribe"
connection = pika.BlockingConnection(
    pika.ConnectionParameters("127.0.0.1", amqp_port, blocked_connection_timeout=30)
)
channel = connection.channel()
channel.exchange_declare("news", "topic", durable=True)
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, "news", "#")
deliveries = channel.consume(queue, auto_ack=True, inactivity_timeout=30)

expected = collections.Counter()
at_redis, at_amqp = collections.Counter(), collections.Counter()


def say_at_redis(name, text):
    client.publish(name, text)
    expected[name, text] += 1


def say_at_amqp(name, text):
    channel.basic_publish("news", name, text)
    expected[name, text] += 1


for number in range(500):
    say_at_redis("news.eu", b"redis %d" % number)
    say_at_amqp("news.us", b"amqp %d" % number)
    # The same from both, on one channel.
    say_at_redis("news.all", b"%d" % (number % 3))
    say_at_amqp("news.all", b"%d" % (number % 3))
# What came back would come before the last of these, each of which goes when the one before is heard.
for number in range(4):
    say_at_redis("news.end", b"redis %d" % number)
    say_at_amqp("news.end", b"amqp %d" % number)
    ends = {("news.end", b"redis %d" % number), ("news.end", b"amqp %d" % number)}
    while not ends <= at_redis.keys():
        message = pubsub.get_message(timeout=30)
        at_redis[message["channel"].decode(), message["data"]] += 1
    while not ends <= at_amqp.keys():
        method, _, body = next(deliveries)
        at_amqp[method.routing_key, body] += 1
assert at_redis == expected, (at_redis - expected, expected - at_redis)
assert at_amqp == expected, (at_amqp - expected, expected - at_amqp)
channel.cancel()
connection.close()
