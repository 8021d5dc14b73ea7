"""Takes the place of `tests/docker_client.py` in aio-pika: its one container is the broker that
runs already, at RABBITMQ_HOST and RABBITMQ_5672_TCP."""
import os
from dataclasses import dataclass


class DockerNotAvailableError(Exception):
    """Never raised here; its conftest names it."""


class DockerHostInfo:
    """Nothing is known of a host; its conftest names it."""


@dataclass
class ContainerInfo:
    id: str
    ports: dict[str, int]
    host: str


def check_docker_available():
    return DockerHostInfo()


class DockerClient:
    def __init__(self, host=None):
        pass

    def run(self, *_arguments, **_options):
        # No TLS: the port where nothing listens fails at once whoever would try it.
        ports = {"5672/tcp": int(os.environ["RABBITMQ_5672_TCP"]), "5671/tcp": 1}
        return ContainerInfo("broker", ports, os.environ["RABBITMQ_HOST"])

    def kill(self, container):
        pass

    def remove(self, container):
        pass
