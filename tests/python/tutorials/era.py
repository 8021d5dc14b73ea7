"""The two ages of the tutorials: RabbitMQ's site declares quorum queues "today"; "before", the
same programs declared what `before` says, and much code in the world still does."""
import os


def queue_options(**before):
    if os.environ["TUTORIAL_ERA"] == "before":
        return before
    return {"durable": True, "arguments": {"x-queue-type": "quorum"}}
