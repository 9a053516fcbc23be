"""One fake account for all tests; each finds it as deployed by default."""

import signal

import pytest

from fake.cloud import Cloud


@pytest.fixture(scope="session")
def account(tmp_path_factory):
    # A run that is ended from outside ends its processes, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cloud = Cloud(tmp_path_factory.mktemp("aws"))
    yield cloud
    cloud.close()


@pytest.fixture
def cloud(account):
    account.reset()
    yield account
    # Nothing of this test waits any longer.
    account.model.released.set()


def pytest_collection_modifyitems(items):
    """The log is judged when all other tests have written theirs."""
    items.sort(key=lambda item: item.path.name == "test_logs.py")
