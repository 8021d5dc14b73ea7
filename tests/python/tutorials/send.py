#!/usr/bin/env python3
"""RabbitMQ's first tutorial, the sender: one message to the queue "hello"."""
import os

import pika

from era import queue_options

parameters = pika.ConnectionParameters(host="localhost", port=int(os.environ["AMQP_PORT"]))
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

channel.queue_declare(queue="hello", **queue_options())
channel.basic_publish(exchange="", routing_key="hello", body="Hello World!")
print(" [x] Sent 'Hello World!'")
connection.close()
