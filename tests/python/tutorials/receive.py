#!/usr/bin/env python3
"""RabbitMQ's first tutorial, the receiver: prints what comes from the queue "hello"."""
import os

import pika

from era import queue_options

parameters = pika.ConnectionParameters(host="localhost", port=int(os.environ["AMQP_PORT"]))
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

channel.queue_declare(queue="hello", **queue_options())


def callback(ch, method, properties, body):
    print(f" [x] Received {body.decode()}", flush=True)


channel.basic_consume(queue="hello", on_message_callback=callback, auto_ack=True)
print(" [*] Waiting for messages. To exit press CTRL+C", flush=True)
channel.start_consuming()
