"""Takes the place of `tests/docker_client.py` in aio-pika: its one container is a broker that
runs already, at RABBITMQ_HOST. RABBITMQ_5672_TCP has a port for each of pytest's workers, whose
tests use the same names."""
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
        worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        port = os.environ["RABBITMQ_5672_TCP"].split(",")[worker]
        # No TLS: the port where nothing listens fails at once whoever would try it.
        ports = {"5672/tcp": int(port), "5671/tcp": 1}
        return ContainerInfo("broker", ports, os.environ["RABBITMQ_HOST"])

    def kill(self, container):
        pass

    def remove(self, container):
        pass
