"""Lets sockets reach this machine alone, and tells libraries to stay offline."""

import os
import socket
from collections.abc import Callable, Iterator

import pytest

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled"}
LOCAL = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()}  # noqa: S104 - names, not a server


def pytest_configure() -> None:
    """Tells libraries, here and in processes started from here."""
    os.environ.update(OFFLINE)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded(method: Callable[..., object]) -> Callable[..., object]:
        def call(self: socket.socket, address: object) -> object:
            if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
                _check_local(address[0])
            return method(self, address)

        return call

    def guarded_look_up(host: object, *args: object, **kwargs: object) -> object:
        _check_local(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(connect))
        patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


def _check_local(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in LOCAL:
        raise OSError(f"tests do not use the network: connection to {name!r}")
