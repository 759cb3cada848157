"""Addresses of workers, "host:port" as in TF_CONFIG, an IPv6 host in brackets."""
import contextlib
import ipaddress


def host_of(address):
    """The name or number before the port, without brackets."""
    return address.rpartition(":")[0].strip("[]")


def port_of(address):
    """The port, an int."""
    return int(address.rpartition(":")[2])


def all_loopback(addresses):
    """Whether all workers are on this machine, out of reach of any other."""
    return all(is_loopback(host_of(address)) for address in addresses)


def is_loopback(host):
    """Whether no other machine can reach this host: 127.0.0.0/8, ::1 or localhost."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
