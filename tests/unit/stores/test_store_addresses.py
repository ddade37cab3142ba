"""URLs of stores on ZooKeeper and Consul are read as they are meant, or refused with what to write; no secret is
repeated. What all URLs have in common is tried on etcd's (`test_etcd_address`).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evac.config.keeping import store_of_command_line
from evac.core.errors import StoreUnavailable
from evac.stores.consul import ConsulAddress
from evac.stores.etcd import EtcdAddress
from evac.stores.opening import StoreAddress, parse_address
from evac.stores.trust import read_secret, trusting
from evac.stores.urls import Tls
from evac.stores.zookeeper import ZookeeperAddress

HERE = Path("/estate")


def read(text: str) -> StoreAddress:
    return parse_address(text, namespace="evac/shop", folder=HERE)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("etcd://a", EtcdAddress(endpoints=("a:2379",), namespace="evac/shop")),
        ("etcds://a", EtcdAddress(endpoints=("a:2379",), namespace="evac/shop", tls=Tls())),
        ("zookeeper://a,[::1]:3", ZookeeperAddress(endpoints=("a:2181", "[::1]:3"), namespace="evac/shop")),
        (
            "zookeepers://eva%40c@a/my/own?password-file=zk&ca=~/ca.pem",
            ZookeeperAddress(
                endpoints=("a:2181",),
                namespace="my/own",
                user="eva@c",
                password_file=HERE / "zk",
                tls=Tls(ca=Path.home() / "ca.pem"),
            ),
        ),
        ("consul://a,b:1", ConsulAddress(endpoints=("a:8500", "b:1"), namespace="evac/shop")),
        (
            "consuls://a/my/own?token-file=/etc/token&dc=europe",
            ConsulAddress(
                endpoints=("a:8500",),
                namespace="my/own",
                datacenter="europe",
                token_file=Path("/etc/token"),
                tls=Tls(),
            ),
        ),
        (
            "consul://a?token-env=CONSUL_HTTP_TOKEN",
            ConsulAddress(endpoints=("a:8500",), namespace="evac/shop", token_env="CONSUL_HTTP_TOKEN"),
        ),
    ],
)
def test_a_url_is_read_as_it_is_meant(text: str, meant: StoreAddress) -> None:
    assert read(text) == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a:2181", "is not a store; write etcd://host:port,host:port, or zookeeper:// or consul://"),
        ("redis://a", "is not a store"),
        ("zookeeperss://a", "is not a store"),
        ("zookeeper://evac:hunter2@a", "holds a password, which everybody could see"),
        ("zookeeper://evac@a", "names a user and no password; add ?password-file=PATH"),
        ("zookeeper://a?password-file=x", "write zookeeper://user@host:port?password-file="),
        ("zookeeper://e%3Avac@a?password-file=x", "a user with a colon"),
        ("zookeeper://a/my//own", "is no path in ZooKeeper"),
        ("zookeeper://a/../own", "is no path in ZooKeeper"),
        ("zookeeper://a/zookeeper/config", "is no path in ZooKeeper"),
        ("zookeeper://a?ca=x", "is not encrypted; write zookeepers:// for TLS"),
        ("zookeeper://a?token-file=x", "there are: password-file, ca, cert, key"),
        ("zookeeper://[::1", "zookeeper://[::1]:2181"),
        ("consul://:hunter2@a", "holds a password, which everybody could see; write it into a file: ?token-file=PATH"),
        ("consul://hunter2@a", "names a user; Consul lets in by token"),
        ("consul://a?token=hunter2", "there are: token-file, token-env, dc, ca, cert, key"),
        ("consul://a?token-file=x&token-env=y", "names token-file and token-env; write one of them"),
        ("consul://a?dc=", "needs exactly one value for dc"),
        ("consul://a/my//own", "a namespace that Consul refuses"),
        ("consul://a/my%20own", "a namespace that Consul refuses"),
        ("consul://a/../own", "a namespace that Consul refuses"),
    ],
)
def test_what_is_none_is_refused_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        read(text)
    assert "hunter2" not in str(refused.value)


def test_an_address_is_told_without_secrets() -> None:
    assert str(read("zookeeper://user@a,b?password-file=x")) == "ZooKeeper at a:2181, b:2181"
    assert str(read("consul://a?token-env=HUNTER2")) == "Consul at a:8500"


@pytest.mark.parametrize("kind", ["etcds", "consuls", "zookeepers"])
def test_a_file_that_is_missing_is_named_with_its_whole_path(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = store_of_command_line(f"{kind}://a?ca=keys/ca.pem", estate="shop")
    assert address is not None
    assert address.tls is not None
    with pytest.raises(StoreUnavailable, match=re.escape(f"{tmp_path / 'keys/ca.pem'}: No such file")):
        trusting(address.tls)


def test_a_secret_that_is_missing_is_named_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = store_of_command_line("etcd://eva@a?password-file=keys/etcd", estate="shop")
    assert isinstance(address, EtcdAddress)
    with pytest.raises(StoreUnavailable, match=re.escape(f"{tmp_path / 'keys/etcd'}: No such file")):
        read_secret(address.password_file, where=address, what="password")
