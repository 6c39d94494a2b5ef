#!/usr/bin/env python3
"""A network of machines on this one, whose links can be cut, slowed and made lossy: relay.py NAME=ADDRESS ...

Each NAME becomes a network namespace with one interface, and packets go from one to another only through this process: nothing is
asked of the kernel but TUN interfaces. The name "here" is the namespace that this was started in. Must be root. Orders are read from
standard input, a line each, and answered with a line: "ok", or what is wrong with them. At the end of input everything is removed.

    cut A B          what A sends to B is lost
    slow A MS        what A sends or is sent takes so much longer
    lossy A PERCENT  so much of what A sends or is sent is lost
    heal             no link is disturbed any more
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
PACKET_BYTES_MAX = 65_536
# Packets taken from one interface before the others have their turn.
TURN_PACKETS_MAX = 64


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: {done.stdout.strip()}")


class Place:
    """A namespace, and the end of its interface that is here."""

    def __init__(self, number, name, address):
        self.name, self.address = name, address
        self.namespace = None if name == "here" else f"onebox-{os.getpid()}-{name}"
        self.ms, self.lossy, self.cut_to = 0.0, 0.0, set()
        device = f"ob{os.getpid()}-{number}"
        self.file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.file, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN_WITHOUT_HEADER))
        inside = ["ip"]
        if self.namespace:
            run("ip", "netns", "add", self.namespace)
            run("ip", "link", "set", device, "netns", self.namespace)
            inside = ["ip", "-n", self.namespace]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "address", "add", f"{address}/24", "dev", device)
        run(*inside, "link", "set", device, "txqueuelen", "10000", "up")

    def remove(self):
        if self.namespace:
            subprocess.run(["ip", "netns", "delete", self.namespace], check=False)


class Relay:
    def __init__(self, places):
        self.by_name = {place.name: place for place in places}
        self.by_address = {bytes(map(int, place.address.split("."))): place for place in places}
        self.by_file = {place.file: place for place in places}
        self.waiting, self.count, self.random = [], 0, random.Random(1)

    def order(self, words):
        match words:
            case ["cut", sender, receiver]:
                self.by_name[sender].cut_to.add(self.by_name[receiver])
            case ["slow", name, ms]:
                self.by_name[name].ms = float(ms)
            case ["lossy", name, percent]:
                self.by_name[name].lossy = float(percent) / 100
            case ["heal"]:
                for place in self.by_name.values():
                    place.ms, place.lossy = 0.0, 0.0
                    place.cut_to.clear()
            case _:
                return f"no such order: {' '.join(words)}"
        return "ok"

    def take(self, sender):
        """Takes what the machine has sent."""
        for _ in range(TURN_PACKETS_MAX):
            try:
                packet = os.read(sender.file, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            receiver = self.by_address.get(packet[16:20])
            if packet[0] >> 4 != 4 or receiver is None or receiver in sender.cut_to:
                continue
            loss = max(sender.lossy, receiver.lossy)
            if loss and self.random.random() < loss:
                continue
            ms = sender.ms + receiver.ms
            if ms:
                self.count += 1
                heapq.heappush(self.waiting, (time.monotonic() + ms / 1e3, self.count, sender, receiver, packet))
            else:
                self.pass_on(receiver, packet)

    def pass_on(self, receiver, packet):
        try:
            os.write(receiver.file, packet)
        except BlockingIOError:
            pass  # Its queue is full: lost, as on any network.

    def run(self):
        poll = select.poll()
        for file in self.by_file:
            poll.register(file, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        print("ok", flush=True)
        while True:
            wait = None
            if self.waiting:
                wait = max(0, (self.waiting[0][0] - time.monotonic()) * 1e3)
            for file, _ in poll.poll(wait):
                if file in self.by_file:
                    self.take(self.by_file[file])
                    continue
                line = sys.stdin.readline()
                if not line:
                    return
                try:
                    print(self.order(line.split()), flush=True)
                except (KeyError, ValueError) as error:
                    print(f"no such order: {line.strip()}: {error!r}", flush=True)
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                _, _, sender, receiver, packet = heapq.heappop(self.waiting)
                # A cut also stops what is under way.
                if receiver not in sender.cut_to:
                    self.pass_on(receiver, packet)


def main():
    places = []
    try:
        for number, argument in enumerate(sys.argv[1:]):
            name, address = argument.split("=")
            places.append(Place(number, name, address))
        Relay(places).run()
    finally:
        for place in places:
            place.remove()


main()
