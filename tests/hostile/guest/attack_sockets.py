"""Attacks by sockets: a way out, or a way into the kernel."""

import fcntl
import socket
import struct

from attack_kit import *


def _made(*kind):
    return attempt(lambda: socket.socket(*kind).close())


def raw_sockets():
    return {
        "icmp": _made(socket.AF_INET, socket.SOCK_RAW, 1),
        "ip": _made(socket.AF_INET, socket.SOCK_RAW, 255),
        "icmp6": _made(socket.AF_INET6, socket.SOCK_RAW, 58),
    }


def packet_sockets():
    return {"raw": _made(17, socket.SOCK_RAW, 0x300), "dgram": _made(17, socket.SOCK_DGRAM, 0x300)}


def sockets_to_the_hypervisor():
    """AF_VSOCK has no namespace: it leaves even where there is no network."""
    return {"stream": _made(40, socket.SOCK_STREAM, 0), "dgram": _made(40, socket.SOCK_DGRAM, 0)}


def sockets_of_the_crypto_api():
    return _made(38, socket.SOCK_SEQPACKET, 0)


def sockets_of_odd_families():
    odd = [family for family in range(46) if family not in (0, 1, 2, 10, 16, 17, 38, 40)]
    return {str(f): _made(f, kind) for f in odd for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM)}


def netlink_of_the_kernel():
    """Audit, netfilter, uevents, crypto: large parsers in the kernel; routes alone are needed."""
    kinds = {"audit": 9, "netfilter": 12, "uevent": 15, "crypto": 21, "sock_diag": 4, "xfrm": 6}
    return {name: _made(16, socket.SOCK_RAW, number) for name, number in kinds.items()}


def change_interfaces():
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40 | 0x100)  # up, promiscuous
        found["flags"] = attempt(lambda: fcntl.ioctl(probe, 0x8914, request))
        address = struct.pack("16sHH4s8x", b"lo", 2, 0, bytes([192, 0, 2, 1]))
        found["address"] = attempt(lambda: fcntl.ioctl(probe, 0x8916, address))
    found["new_link"] = _new_link()
    return found


def _new_link():
    """Ask for a dummy interface by RTM_NEWLINK; the answer carries the kernel's errno."""
    kind = struct.pack("HH", 9, 1) + b"dummy\0\0\0"
    info = struct.pack("HH", 4 + len(kind), 18) + kind
    body = struct.pack("BxHiII", 0, 0, 0, 0, 0xFFFFFFFF) + info
    head = struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0)
    try:
        with socket.socket(16, socket.SOCK_RAW, 0) as route:
            route.settimeout(2)
            route.send(head + body)
            answer = route.recv(4096)
    except OSError as error:
        return errno.errorcode.get(error.errno, "error")
    code = -struct.unpack_from("i", answer, 16)[0]
    return errno.errorcode.get(code, "ok")


def a_route_out():
    """Read the routing tables; nothing is sent, connecting a datagram only asks for a route."""
    with open("/proc/net/route") as table:
        routes = [line.split() for line in table][1:]
    away = [words[0] for words in routes if words[0] != "lo"]
    try:
        with open("/proc/net/ipv6_route") as table:
            away += [words[-1] for words in map(str.split, table) if words[-1] != "lo"]
    except OSError:
        pass
    found = {"routes": away, "interfaces": sorted(name for _, name in socket.if_nameindex())}
    for name, address in (("metadata", "169.254.169.254"), ("documentation", "192.0.2.1")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            found[name] = attempt(lambda: probe.connect((address, 80)))
    return found


def listeners_of_the_host():
    """The host's own loopback, by TCP, by path and by abstract name; a datagram is looked for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        attempt(lambda: probe.sendto(b"out", ("127.0.0.1", TOLD["udp"])))

    def unix(address):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address)

    return {
        "tcp": attempt(lambda: socket.create_connection(("127.0.0.1", TOLD["tcp"]), 2).close()),
        "path": attempt(lambda: unix(TOLD["socket"])),
        "abstract": attempt(lambda: unix("\0" + TOLD["abstract"])),
    }


def abstract_names_of_the_host():
    with open("/proc/net/unix") as table:
        return [line.split()[-1] for line in table if TOLD["abstract"] in line]


def engine_sockets():
    places = (
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/systemd/private",
        "/run/dbus/system_bus_socket",
        TOLD["engine"],
    )

    def connect(place):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(place)

    return each(connect, places)


def tunnels():
    return attempt(lambda: os.close(os.open("/dev/net/tun", os.O_RDWR)))
