#!/usr/bin/env python3
"""RabbitMQ's second tutorial, the worker: takes one task at a time, acknowledges it when done."""
import os
import time

import pika

from era import queue_options

parameters = pika.ConnectionParameters(host="localhost", port=int(os.environ["AMQP_PORT"]))
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

channel.queue_declare(queue="task_queue", **queue_options(durable=True))
print(" [*] Waiting for messages. To exit press CTRL+C", flush=True)


def callback(ch, method, properties, body):
    again = " again" if method.redelivered else ""
    print(f" [x] Received {body.decode()}{again}", flush=True)
    time.sleep(body.count(b"."))
    print(" [x] Done", flush=True)
    ch.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="task_queue", on_message_callback=callback)
channel.start_consuming()
