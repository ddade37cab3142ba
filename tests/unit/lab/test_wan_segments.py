"""That a large frame is cut into what a wire would have carried."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from evac.lab.wan.segments import segments

VIRTIO, ETHERNET, IP, TCP = 10, 14, 20, 32
HEADERS = VIRTIO + ETHERNET + IP + TCP
FIN, PSH, ACK = 1, 8, 16


def frame(payload: bytes, *, size: int, sequence: int = 4_294_967_000) -> bytes:
    virtio = struct.pack("<BBHHHH", 1, 1, HEADERS - VIRTIO, size, ETHERNET + IP, 16)
    ethernet = bytes(12) + b"\x08\x00"
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, IP + TCP + len(payload), 65_530, 0x4000, 64, 6, 0, b"\x0a\x4d\1\1", b"\x0a\x4d\2\1"
    )
    tcp = struct.pack("!HHIIBBHHH", 1, 2, sequence, 9, TCP // 4 << 4, ACK | PSH | FIN, 500, 0, 0) + bytes(TCP - 20)
    return virtio + ethernet + ip + tcp + payload


def total(octets: bytes) -> int:
    found: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while found >> 16:
        found = (found & 0xFFFF) + (found >> 16)
    return found


@given(st.binary(min_size=1, max_size=9000), st.integers(min_value=500, max_value=1448))
def test_the_packets_carry_the_whole_and_each_is_well_formed(payload: bytes, size: int) -> None:
    packets = segments(frame(payload, size=size))
    assert b"".join(packet[HEADERS:] for packet in packets) == payload
    for number, packet in enumerate(packets):
        ip, tcp = packet[24 : 24 + IP], packet[44:HEADERS]
        assert packet[:VIRTIO] == struct.pack("<BBHHHH", 1, 0, 0, 0, ETHERNET + IP, 16)
        assert len(packet) - VIRTIO - ETHERNET == struct.unpack_from("!H", ip, 2)[0]
        assert struct.unpack_from("!H", ip, 4)[0] == (65_530 + number) & 0xFFFF
        assert total(ip) == 0xFFFF
        assert struct.unpack_from("!I", tcp, 4)[0] == (4_294_967_000 + number * size) & 0xFFFFFFFF
        pseudo = ip[12:20] + struct.pack("!BBH", 0, 6, len(packet) - 44)
        assert struct.unpack_from("!H", tcp, 16)[0] == total(pseudo)
        last = number == len(packets) - 1
        assert tcp[13] == (ACK | PSH | FIN if last else ACK)


def test_what_is_one_packet_stays_as_it_is() -> None:
    plain = bytes(10) + bytes(60)
    assert segments(plain) == [plain]
