"""A loader of another make: speaks the protocol to the hub of test_link.

usage: peer.py ENDPOINT RUN TYPES MORE_TYPES
"""
import sys
import time

import msgpack
import zmq

endpoint, run = sys.argv[1:3]
HELLO, WELCOME, PING, PONG, ACK, FIN, FIN_ACK, REFUSE = map(int, sys.argv[3].split(","))
LOADER_READY, TICKET, BATCH = map(int, sys.argv[4].split(","))
VERSION = 2
ME = ["loader", 0, 1]

socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
socket.routing_id = b"loader.0.1"
socket.connect(endpoint)

server = ["", 0, 0]
sent = taken = 0


def send(kind, body, frames=(), seq=0):
    envelope = [VERSION, kind, seq, taken, ME, server, body]
    socket.send_multipart([msgpack.packb(envelope), *frames])


def say(kind, body, frames=()):
    global sent
    sent += 1
    send(kind, body, frames, sent)


def receive(wanted):
    """The body of the next message of that kind; answers pings meanwhile."""
    global server, taken
    end = time.monotonic() + 10
    while socket.poll(max(0, int(1000 * (end - time.monotonic())))):
        head, *_ = socket.recv_multipart()
        version, kind, seq, ack, sender, _, body = msgpack.unpackb(head)
        assert version == VERSION and kind != REFUSE, body
        assert ack == 7 if kind == WELCOME else ack <= sent
        if seq:
            assert seq == taken + 1
            taken = seq
        if kind == WELCOME:
            server = sender
        if kind == PING:
            send(PONG, body)
        if kind == wanted:
            return body
    sys.exit(f"no message of type {wanted}")


send(HELLO, [VERSION, run], seq=7)
assert receive(WELCOME) == [VERSION]
say(LOADER_READY, [2, "a" * 64, "b" * 64, 1600, 1100, 10, 20])
split, epoch, index, count = receive(TICKET)
assert (split, epoch, index, count) == (0, 3, 1 << 40, 2)
receive(PING)  # the hub grows anxious after a while
send(PING, [123456])
assert receive(PONG) == [123456]
pixels = bytes(range(count * 4 * 4 * 3))
say(BATCH, [split, epoch, index, count, [4, 4, 3] * 2, [5, 6], [7, 8], [1, 2, 3, 4, 5], 0],
    [pixels, pixels])
say(FIN, [])
receive(FIN_ACK)
