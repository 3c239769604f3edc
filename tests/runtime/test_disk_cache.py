"""The cache's folder: what is in it is whole or not used, bounded, private, and good for several processes at once."""

import hashlib
import os
import select
import signal
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lamina.ir.errors import ArgumentError
from lamina.runtime import disk_cache as module
from lamina.runtime.disk_cache import DiskCache, default_folder, disk_cache, parse_size


def key(text):
    return hashlib.sha256(str(text).encode()).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "some" / "cache"


@pytest.fixture
def switched_on(folder, monkeypatch):
    """The environment names a cache of this test's own."""
    monkeypatch.setenv("LAMINA_CACHE", "1")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(folder))
    monkeypatch.delenv("LAMINA_CACHE_SIZE", raising=False)
    return folder


def entries(folder):
    return sorted(p.name for p in folder.iterdir())


def test_bytes_come_back(folder):
    cache = DiskCache(folder)
    assert cache.get(key(1)) is None and not cache.has(key(1))
    for payload in (b"", b"some bytes", os.urandom(100_000)):
        cache.put(key(1), payload)
        assert cache.has(key(1))
        assert cache.get(key(1)) == DiskCache(folder).get(key(1)) == payload
    cache.remove(key(1))
    cache.remove(key(1))
    assert cache.get(key(1)) is None
    assert entries(folder) == []


def test_a_damaged_entry_is_not_used_and_goes(folder):
    cache = DiskCache(folder)
    cache.put(key(1), b"payload")
    (path,) = folder.iterdir()
    good = path.read_bytes()
    damaged = [good[:i] for i in range(len(good))] + [good + b"\0"]
    damaged += [good[:i] + bytes([good[i] ^ 1 << bit]) + good[i + 1 :] for i in range(len(good)) for bit in range(8)]
    for data in damaged:
        path.write_bytes(data)
        assert cache.get(key(1)) is None
        assert not path.exists()
    path.write_bytes(good)
    assert cache.get(key(1)) == b"payload"


@pytest.mark.parametrize("wrong", ["", "abc", "../" + "a" * 61, "A" * 64, "a" * 64 + "\n", "a" * 63 + "/"])
def test_a_key_is_64_digits(folder, wrong):
    cache = DiskCache(folder)
    for call in (cache.get, cache.has, cache.remove, lambda k: cache.put(k, b"")):
        with pytest.raises(ArgumentError, match="64 hexadecimal digits"):
            call(wrong)


def test_what_was_used_longest_ago_goes(folder):
    cache = DiskCache(folder, size=10_000)
    for i in range(9):
        cache.put(key(i), bytes(1000))
        os.utime(folder / f"{key(i)}.entry", (i, i))  # used in this order, long ago
    assert cache.get(key(0)) is not None  # now
    cache.put(key(9), bytes(1000))
    left = [i for i in range(10) if cache.has(key(i))]
    assert 0 in left and 9 in left
    assert left[1:-1] == list(range(left[1], 9)) and left[1] > 1
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 7500


def test_the_bound_holds_whoever_wrote(folder):
    DiskCache(folder, size=1 << 20).put(key("large"), bytes(50_000))
    small = DiskCache(folder, size=10_000)
    small.put(key("small"), bytes(100))  # it looks what is there at its first entry
    assert not small.has(key("large"))
    small.put(key("too large"), bytes(2500))
    assert not small.has(key("too large"))
    for i in range(100):
        small.put(key(i), bytes(1000))
        assert sum(p.stat().st_size for p in folder.iterdir()) <= 10_000


def test_what_killed_writers_left_goes_after_a_while(folder):
    cache = DiskCache(folder, size=10_000)
    old, new = folder / "old.writing", folder / "new.writing"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (1, 1))
    cache.put(key(1), b"x")
    assert not old.exists() and new.exists()


def test_the_folder_is_the_users_alone(folder):
    cache = DiskCache(folder)
    cache.put(key(1), b"x")
    secret = cache.secret()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert len(secret) == 32 and secret == cache.secret() == DiskCache(folder).secret()


def test_a_damaged_secret_is_made_anew(folder):
    cache = DiskCache(folder)
    cache.secret()
    (folder / "secret").write_bytes(b"short")
    assert len(cache.secret()) == 32 and cache.secret() == cache.secret()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o711])
def test_a_folder_that_others_get_into_is_refused(folder, mode):
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(ArgumentError, match=f"mode {mode:o}.*chmod 700"):
        DiskCache(folder)


def test_another_users_folder_is_refused(folder, monkeypatch):
    DiskCache(folder)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(ArgumentError, match="another user"):
        DiskCache(folder)


def test_a_link_or_a_file_is_no_folder(tmp_path):
    real, link, file = tmp_path / "real", tmp_path / "link", tmp_path / "file"
    real.mkdir(mode=0o700)
    link.symlink_to(real)
    file.write_bytes(b"")
    with pytest.raises(ArgumentError, match="is no folder"):
        DiskCache(link)
    with pytest.raises(OSError):
        DiskCache(file)


# The environment


def test_the_environment_says_where_and_how_much(switched_on, monkeypatch):
    cache = disk_cache()
    assert cache is not None and cache is disk_cache()
    assert (cache.folder, cache.size) == (switched_on, module.DEFAULT_SIZE)
    monkeypatch.setenv("LAMINA_CACHE_SIZE", "2M")
    assert disk_cache().size == 2 << 20


@pytest.mark.parametrize("off", ["0", "off", "False", "no"])
def test_it_can_be_switched_off(switched_on, monkeypatch, off):
    monkeypatch.setenv("LAMINA_CACHE", off)
    assert disk_cache() is None and not switched_on.exists()


def test_the_tests_have_none():
    assert disk_cache() is None


def test_a_folder_that_cannot_be_had_is_one_warning(switched_on):
    switched_on.mkdir(parents=True, mode=0o755)
    switched_on.chmod(0o755)
    with pytest.warns(UserWarning, match=r"not kept on disk: .*chmod 700.*LAMINA_CACHE=0"):
        assert disk_cache() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert disk_cache() is None


def test_a_folder_that_goes_is_one_warning(switched_on):
    cache = disk_cache()
    switched_on.rmdir()
    with pytest.warns(UserWarning, match="not kept on disk"):
        cache.put_or_give_up(key(1), b"x")
    assert disk_cache() is None


def test_a_wrong_size_is_said(switched_on, monkeypatch):
    monkeypatch.setenv("LAMINA_CACHE_SIZE", "lots")
    with pytest.warns(UserWarning, match="LAMINA_CACHE_SIZE should be a number of bytes .*'lots'"):
        assert disk_cache() is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("300", 300), ("1k", 1 << 10), ("200M", 200 << 20), (" 2 gb".replace(" ", ""), 2 << 30)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


def test_the_usual_place_is_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "lamina"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "lamina"


# Several processes, and their end

_KILLED = """
import os, sys
from lamina.runtime.disk_cache import DiskCache
cache = DiskCache(sys.argv[1])
def stop(*paths):  # all is written, and not yet renamed
    print("here", flush=True)
    sys.stdin.read()
if sys.argv[2] == "rename":
    os.replace = stop
else:  # half is written
    real = open
    class Half:
        def __init__(self, file): self.file, self.count = file, 0
        def __enter__(self): return self
        def __exit__(self, *error): self.file.close()
        def write(self, data):
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            self.count += 1
            if self.count == 3: stop()
    import lamina.runtime.disk_cache as module
    module.open = lambda *args, **options: Half(real(*args, **options))
cache.put(sys.argv[3], b"new" * 1000)
"""


def started(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
@pytest.mark.parametrize("moment", ["rename", "half"])
def test_a_writer_that_is_killed_leaves_a_good_cache(folder, moment):
    cache = DiskCache(folder)
    cache.put(key("old"), b"old" * 1000)
    for name in ("old", "new"):
        with started(_KILLED, folder, moment, key(name)) as child:
            assert select.select([child.stdout], [], [], 60)[0], "the writer does not get there"
            assert child.stdout.readline() == "here\n", child.stderr.read()
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
    assert cache.get(key("old")) == b"old" * 1000
    assert cache.get(key("new")) is None
    assert sum(name.endswith(".writing") for name in entries(folder)) == 2
    cache.put(key("new"), b"whole")
    assert DiskCache(folder).get(key("new")) == b"whole"


_WORKER = """
import hashlib, sys
from lamina.runtime.disk_cache import DiskCache
cache = DiskCache(sys.argv[1], size=400_000)
secret = cache.secret()
print("ready", flush=True)
sys.stdin.readline()
found = 0
for turn in range(40):
    for i in range(12):
        key = hashlib.sha256(str(i).encode()).hexdigest()
        payload = bytes([i]) * 60_000
        got = cache.get(key)
        if got is None:
            cache.put(key, payload)
        else:
            assert got == payload, "another entry's bytes, or half of them"
            found += 1
print(found, secret.hex(), flush=True)
"""


def test_processes_read_write_and_drop_the_same_entries_at_once(folder):
    children = [started(_WORKER, folder) for _ in range(3)]
    for child in children:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=120) for child in children]
    assert all(child.returncode == 0 for child in children), said
    results = [out.split() for out, _ in said]
    assert len({secret for _, secret in results}) == 1
    assert sum(int(found) for found, _ in results) > 0
    sizes = [p.stat().st_size for p in Path(folder).glob("*.entry")]
    assert sum(sizes) <= 3 * 400_000 and not list(folder.glob("*.writing"))
