"""A small disk that can be full, and have room again. Root alone may mount one."""

import os
import subprocess
from pathlib import Path


def missing():
    """Why there can be no disk of its own here, or None."""
    if os.geteuid() != 0:
        return "it takes root to mount a small disk"
    probe = subprocess.run(["unshare", "-m", "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return None if probe.returncode == 0 else f"no mounts here: {probe.stderr.strip()}"


class SmallDisk:
    """A tmpfs of that many MiB."""

    def __init__(self, folder, mib):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.filler = self.folder / "filler"
        options = ["-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(self.folder)]
        subprocess.run(["mount", *options], check=True, stdin=subprocess.DEVNULL)

    def fill(self):
        """From now on there is no room."""
        with open(self.filler, "ab", buffering=0) as file:
            for piece in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * piece)
                except OSError:
                    continue

    def empty(self):
        """From now on there is room."""
        self.filler.unlink()

    def close(self):
        # What still runs on it is ended by its own fixture.
        subprocess.run(["umount", "-l", str(self.folder)], check=True, stdin=subprocess.DEVNULL)
