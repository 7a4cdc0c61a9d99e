"""Sends messages with Proton, each when the one before is settled, and prints the outcomes as a JSON list.

    proton_sender.py URL ADDRESS <PICKLED_LIST_OF_BODIES

A program of its own, because a blocking send waits until the receiver, whose connection must be worked, accepts.
"""

import json
import pickle
import sys

from proton import Message
from proton.utils import BlockingConnection


def main():
    bodies = pickle.load(sys.stdin.buffer)
    connection = BlockingConnection(sys.argv[1], timeout=30)
    sender = connection.create_sender(sys.argv[2])
    print(json.dumps([int(sender.send(Message(body=body)).remote_state) for body in bodies]), flush=True)
    connection.close()


if __name__ == "__main__":
    main()
