"""What every suite runs with (`pytest -p ropewalk_plugin`): the exceptions, and the fixtures that
aiormq's source distribution uses and leaves out. aio-pika has its own, which stand on
`docker_client.py`, beside this file."""
import os
import pathlib
import re

import pytest

from docker_client import DockerClient


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    for action, pattern, reason in exceptions():
        found = [item for item in items if re.search(pattern, item.nodeid)]
        if not found:
            raise pytest.UsageError(f"exceptions.txt: {pattern!r} finds no test")
        if action == "left-out":
            config.hook.pytest_deselected(items=found)
            items[:] = [item for item in items if item not in found]
        elif action == "fails":
            for item in found:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        else:
            raise pytest.UsageError(f"exceptions.txt: {action!r} is no action")


def exceptions():
    text = pathlib.Path(__file__).with_name("exceptions.txt").read_text()
    for line in text.splitlines():
        if line and not line.startswith("#"):
            suite, action, pattern, reason = line.split(None, 3)
            if suite == os.environ["SUITE"]:
                yield action, pattern, reason


@pytest.fixture(scope="session")
def rabbitmq_container():
    return DockerClient().run()


@pytest.fixture(scope="session")
def amqp_direct_url(rabbitmq_container):
    from yarl import URL

    return URL.build(
        scheme="amqp",
        user="guest",
        password="guest",
        path="//",
        host=rabbitmq_container.host,
        port=rabbitmq_container.ports["5672/tcp"],
    )
