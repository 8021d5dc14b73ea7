#!/usr/bin/env python3
"""RabbitMQ's fourth tutorial, the receiver: the lines of the severities in its arguments."""
import os
import sys

import pika

parameters = pika.ConnectionParameters(host="localhost", port=int(os.environ["AMQP_PORT"]))
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

channel.exchange_declare(exchange="direct_logs", exchange_type="direct")
queue = channel.queue_declare(queue="", exclusive=True).method.queue
if not sys.argv[1:]:
    sys.exit(f"Usage: {sys.argv[0]} [info] [warning] [error]")
for severity in sys.argv[1:]:
    channel.queue_bind(exchange="direct_logs", queue=queue, routing_key=severity)


def callback(ch, method, properties, body):
    print(f" [x] {method.routing_key}:{body.decode()}", flush=True)


channel.basic_consume(queue=queue, on_message_callback=callback, auto_ack=True)
print(" [*] Waiting for logs. To exit press CTRL+C", flush=True)
channel.start_consuming()
