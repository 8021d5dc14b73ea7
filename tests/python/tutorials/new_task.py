#!/usr/bin/env python3
"""RabbitMQ's second tutorial, the sender: one task; each dot in it is a second of work."""
import os
import sys

import pika

from era import queue_options

parameters = pika.ConnectionParameters(host="localhost", port=int(os.environ["AMQP_PORT"]))
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

channel.queue_declare(queue="task_queue", **queue_options(durable=True))
message = " ".join(sys.argv[1:]) or "Hello World!"
channel.basic_publish(
    exchange="",
    routing_key="task_queue",
    body=message,
    properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
)
print(f" [x] Sent {message}")
connection.close()
