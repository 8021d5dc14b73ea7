#!/usr/bin/env python3
"""Deletes the queues that its arguments name, so that a test finds none of another's."""
import os
import sys

import pika

parameters = pika.ConnectionParameters(host="localhost", port=int(os.environ["AMQP_PORT"]))
with pika.BlockingConnection(parameters) as connection:
    channel = connection.channel()
    for name in sys.argv[1:]:
        channel.queue_delete(queue=name)
