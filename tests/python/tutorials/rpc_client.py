#!/usr/bin/env python3
"""RabbitMQ's sixth tutorial, the caller: asks for a Fibonacci number and waits for the answer."""
import os
import sys
import uuid

import pika


class FibonacciClient:
    def __init__(self):
        port = int(os.environ["AMQP_PORT"])
        parameters = pika.ConnectionParameters(host="localhost", port=port)
        self.connection = pika.BlockingConnection(parameters)
        self.channel = self.connection.channel()
        self.callback_queue = self.channel.queue_declare(queue="", exclusive=True).method.queue
        self.channel.basic_consume(
            queue=self.callback_queue, on_message_callback=self.on_response, auto_ack=True
        )
        self.response = None
        self.correlation_id = None

    def on_response(self, ch, method, properties, body):
        if properties.correlation_id == self.correlation_id:
            self.response = int(body)

    def call(self, n):
        self.response = None
        self.correlation_id = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="",
            routing_key="rpc_queue",
            properties=pika.BasicProperties(
                reply_to=self.callback_queue, correlation_id=self.correlation_id
            ),
            body=str(n),
        )
        while self.response is None:
            self.connection.process_data_events(time_limit=None)
        return self.response


client = FibonacciClient()
for argument in sys.argv[1:] or ["30"]:
    print(f" [x] Requesting fib({argument})", flush=True)
    print(f" [.] Got {client.call(int(argument))}", flush=True)
client.connection.close()
