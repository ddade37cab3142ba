"""Cut a large TCP frame into the packets that a wire would carry, so that loss strikes each of them on its own.

The kernel hands over up to 64 KiB as one frame and leaves the cutting to the hardware (generic segmentation offload).
Losing such a frame whole is gentler than a real path: one accident instead of forty. So under loss it is cut here.
Checksums stay with the kernel: each packet carries the sum of its pseudo header, and the request to complete it.

RFC 9293 (TCP), RFC 791 (IPv4); the virtio header as in `linux/virtio_net.h`.
"""

from __future__ import annotations

import struct

_VIRTIO = struct.Struct("<BBHHHH")
_VIRTIO_SIZE = 10
_ETHERNET = 14
_NEEDS_CHECKSUM = 1
_GSO_NONE, _GSO_TCPV4, _GSO_ECN = 0, 1, 0x80
_FIN, _PSH = 0x01, 0x08


def segments(frame: bytes) -> list[bytes]:
    """Return the packets of a frame; a frame that is one already, or is not TCP over IPv4, comes back as it is."""
    _flags, gso, _length, size, _start, _offset = _VIRTIO.unpack_from(frame)
    if gso & ~_GSO_ECN != _GSO_TCPV4 or size == 0:
        return [frame]
    ip = _VIRTIO_SIZE + _ETHERNET
    tcp = ip + (frame[ip] & 0x0F) * 4
    data = tcp + (frame[tcp + 12] >> 4) * 4
    return [_packet(frame, ip=ip, tcp=tcp, data=data, at=at, size=size) for at in range(data, len(frame), size)]


def _packet(frame: bytes, *, ip: int, tcp: int, data: int, at: int, size: int) -> bytes:
    """Return the packet that carries `frame[at : at + size]`, with the headers it would have had."""
    payload = frame[at : at + size]
    packet = bytearray(frame[:data])
    number = (at - data) // size
    tcp_length = data - tcp + len(payload)
    _VIRTIO.pack_into(packet, 0, _NEEDS_CHECKSUM, _GSO_NONE, 0, 0, tcp - _VIRTIO_SIZE, 16)
    identification = struct.unpack_from("!H", frame, ip + 4)[0]
    struct.pack_into("!HH", packet, ip + 2, tcp - ip + tcp_length, (identification + number) & 0xFFFF)
    struct.pack_into("!H", packet, ip + 10, 0)
    struct.pack_into("!H", packet, ip + 10, ~_sum(bytes(packet[ip:tcp])) & 0xFFFF)
    sequence = struct.unpack_from("!I", frame, tcp + 4)[0]
    struct.pack_into("!I", packet, tcp + 4, (sequence + at - data) & 0xFFFFFFFF)
    if at + size < len(frame):
        packet[tcp + 13] &= ~(_FIN | _PSH) & 0xFF
    pseudo = bytes(packet[ip + 12 : ip + 20]) + struct.pack("!BBH", 0, 6, tcp_length)
    struct.pack_into("!H", packet, tcp + 16, _sum(pseudo))
    return bytes(packet) + payload


def _sum(octets: bytes) -> int:
    """Return the ones' complement sum of 16-bit words (RFC 1071)."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
