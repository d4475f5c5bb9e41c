"""A folder belongs to one process, and to nobody once that process has ended, however it did."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modelcache.errors import ConfigError
from modelcache.manager.folder_lock import FolderLock
from tests.support.running import ROOT

HOLD = """
import sys, time
from pathlib import Path
from modelcache.manager.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
time.sleep(600)
"""


def refusal(lock: FolderLock) -> str:
    with pytest.raises(ConfigError) as told:
        lock.take()
    assert not lock.is_held
    return str(told.value)


def test_a_folder_has_one_owner_in_a_process_too(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "a"), FolderLock(tmp_path / "a")
    first.take()
    assert first.is_held
    told = refusal(second)
    assert told == f"another service is using {tmp_path / 'a'}: stop it or set MODELCACHE_DATA_DIR"
    second.release()
    assert "another service" in refusal(second)
    first.release()
    first.release()
    second.take()
    second.release()


def test_any_thread_may_give_it_back(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.take()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    FolderLock(tmp_path).take()


@pytest.mark.process
def test_a_killed_process_keeps_nobody_out(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        lock = FolderLock(tmp_path)
        assert "another service" in refusal(lock)
        holder.kill()
        holder.wait()
    lock.take()
    lock.release()


@pytest.mark.process
def test_a_child_neither_owns_nor_keeps_what_its_parent_has(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.take()
    go_on, may_go_on = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go_on, 1)
        try:
            FolderLock(tmp_path).take()
        except ConfigError:
            os._exit(2)
        os._exit(0)
    other = FolderLock(tmp_path)
    assert "another service" in refusal(other)
    lock.release()
    # The child is alive, with all that it inherited.
    other.take()
    os.write(may_go_on, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    other.release()
    os.close(go_on)
    os.close(may_go_on)


def test_a_folder_that_cannot_be_used_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot use the folder" in refusal(FolderLock(tmp_path / "file"))
    assert "cannot use the folder" in refusal(FolderLock(tmp_path / "file" / "below"))
