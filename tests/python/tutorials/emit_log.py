#!/usr/bin/env python3
"""RabbitMQ's third tutorial, the sender: one line of a log to everybody who listens."""
import os
import sys

import pika

parameters = pika.ConnectionParameters(host="localhost", port=int(os.environ["AMQP_PORT"]))
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

channel.exchange_declare(exchange="logs", exchange_type="fanout")
message = " ".join(sys.argv[1:]) or "info: Hello World!"
channel.basic_publish(exchange="logs", routing_key="", body=message)
print(f" [x] Sent {message}")
connection.close()
