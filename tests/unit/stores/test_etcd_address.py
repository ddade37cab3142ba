"""A store's URL is read as it is meant, or refused with what to write instead; a password is never repeated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evac.stores.etcd import EtcdAddress, parse_address
from evac.stores.urls import Tls

HERE = Path("/estate")


def read(text: str) -> EtcdAddress:
    return parse_address(text, namespace="evac/shop", folder=HERE)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("etcd://a", EtcdAddress(endpoints=("a:2379",), namespace="evac/shop")),
        ("etcd://a:1,b,[::1]:3", EtcdAddress(endpoints=("a:1", "b:2379", "[::1]:3"), namespace="evac/shop")),
        ("etcd://a/my/own/", EtcdAddress(endpoints=("a:2379",), namespace="my/own")),
        (
            "etcd://eva%40c@a?password-file=secrets/etcd",
            EtcdAddress(
                endpoints=("a:2379",), namespace="evac/shop", user="eva@c", password_file=HERE / "secrets/etcd"
            ),
        ),
        ("etcds://a", EtcdAddress(endpoints=("a:2379",), namespace="evac/shop", tls=Tls())),
        (
            "etcds://a?ca=ca.pem&cert=/etc/c.pem&key=~/k.pem",
            EtcdAddress(
                endpoints=("a:2379",),
                namespace="evac/shop",
                tls=Tls(ca=HERE / "ca.pem", certificate=Path("/etc/c.pem"), key=Path.home() / "k.pem"),
            ),
        ),
    ],
)
def test_a_url_is_read_as_it_is_meant(text: str, meant: EtcdAddress) -> None:
    assert read(text) == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a:2379", "is not a store; write etcd://"),
        ("https://a", "is not a store"),
        ("etcd://", "names a member (number 1) that is not host"),
        ("etcd://a,,b", "names a member (number 2) that is not host"),
        ("etcd://a:0", "names a member (number 1) that is not host"),
        ("etcd://a:70000", "names a member (number 1) that is not host"),
        ("etcd://a:port", "names a member (number 1) that is not host"),
        ("etcd://::1", "names a member (number 1) that is not host"),
        ("etcd://[::1", "in brackets"),
        ("etcd://a,a:2379", "names a member twice"),
        ("etcd://a,b,c,d,e,f,g,h", "at most 7"),
        ("etcd://a#x", "has a #"),
        ("etcd://user:hunter2@a", "holds a password"),
        ("etcd://user:hunter2/x@a", "names a member (number 1) that"),
        ("etcd://hunter2@b@a", "names a user and no password"),
        ("etcd://@a", "an empty user"),
        ("etcd://user@a", "names a user and no password; add"),
        ("etcd://a?password-file=x", "names a password-file and no user"),
        ("etcd://a?password=hunter2", "unknown part after the ?; there are: password-file, ca, cert, key"),
        ("etcds://a?ca=", "exactly one path for ca"),
        ("etcds://a?ca=x&ca=y", "exactly one path for ca"),
        ("etcd://a?ca=x", "is not encrypted; write etcds://"),
        ("etcds://a?cert=x", "cert and key together"),
    ],
)
def test_what_is_none_is_refused_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        read(text)
    assert "hunter2" not in str(refused.value)


def test_an_address_is_told_without_secrets() -> None:
    assert str(read("etcds://user@a,b?password-file=x")) == "etcd at a:2379, b:2379"
