"""A stand-in for saslauthd: says who may come in, and can keep its askers waiting."""

import os
import socket
import struct
import threading


class PasswordService:
    """Answers the SASL library's questions on a Unix socket; `folder` then holds the library's configuration too."""

    def __init__(self, folder, users):
        self.folder = folder
        self.users = dict(users)
        self.asked = []
        self.hold = threading.Event()
        self.hold.set()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = str(folder / "mux")
        (folder / "tests.conf").write_text(
            f"pwcheck_method: saslauthd\nsaslauthd_path: {self.path}\nmech_list: PLAIN ANONYMOUS EXTERNAL\n")

    @property
    def settings(self):
        """Attributes of the router entity."""
        return {"saslConfigDir": str(self.folder), "saslConfigName": "tests"}

    def __enter__(self):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.hold.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)
        os.unlink(self.path)

    def _serve(self):
        while True:
            try:
                asker, _ = self._socket.accept()
            except OSError:
                return
            with asker:
                try:
                    user, password, _, realm = [self._text(asker) for _ in range(4)]
                    name = f"{user}@{realm}" if realm else user
                    self.asked.append(name)
                    self.hold.wait(60)
                    word = b"OK" if self.users.get(name) == password else b"NO"
                    asker.sendall(struct.pack(">H", len(word)) + word)
                except OSError:
                    continue

    def _text(self, asker):
        length, = struct.unpack(">H", self._exactly(asker, 2))
        return self._exactly(asker, length).decode()

    def _exactly(self, asker, count):
        data = b""
        while len(data) < count:
            part = asker.recv(count - len(data))
            if not part:
                raise OSError("the asker went away")
            data += part
        return data
