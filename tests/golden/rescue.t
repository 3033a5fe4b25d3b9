#!/usr/bin/python3
"""docs/rescue.py reads the same repository, and refuses every damaged object in it with a plain word.

Prints TAP. What rescue.py is asked here it is asked in this process; tests/integration/05* run it.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

here = os.path.join(os.path.abspath(os.environ.get("srcdir", ".")), "tests", "golden")
sys.path.insert(0, os.path.join(here, "..", "..", "docs"))
sys.dont_write_bytecode = True
import rescue  # noqa: E402

os.fsync = lambda fd: None  # thousands of files, all to be thrown away

work = tempfile.mkdtemp(prefix="golden.")
repo = os.path.join(work, "plain")
count = failed = 0


def ok(good, name, why=""):
    global count, failed
    count += 1
    failed += not good
    print(("ok" if good else "not ok"), count, "-", name)
    if not good and why:
        print("#", str(why).replace("\n", "\n# "))
    sys.stdout.flush()


def ask(*args):
    """Runs rescue.py: (exit status, standard output, standard error). An exception is a defect."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["rescue.py", *args]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = rescue.main()
    return status, out.getvalue(), err.getvalue()


def fresh():
    for name in ("data", "space", "wal"):
        shutil.rmtree(os.path.join(work, name), ignore_errors=True)


def restore():
    """The backup with all its WAL: every object of the repository is read, but copies of keys."""
    fresh()
    return ask("restore", repo, "latest", f"{work}/data", f"--tablespace-map={oid}={work}/space",
               f"--wal={work}/wal")


def slurp(path):
    with open(path, "rb") as f:
        return f.read()


def spit(path, data):
    os.chmod(path, 0o600)
    with open(path, "wb") as f:
        f.write(data)


subprocess.run(["tar", "-C", work, "-xf", f"{here}/v1.tar"], check=True)
want_files, want_wal, oid = {}, {}, None
with open(f"{here}/v1.expected", encoding="ascii") as lines:
    for words in map(str.split, lines):
        if words[0] == "file":
            path = re.sub(rb"%(..)", lambda m: bytes([int(m[1], 16)]), words[-1].encode())
            want_files[path] = words[1:5]
        elif words[0] in ("wal", "tail"):
            # A .partial is given under the segment's own name.
            want_wal[words[1].removesuffix(".partial")] = words[2]
        elif words[0] == "tablespace":
            oid = words[1]

# --- what it gives ---

status, out, err = ask("list", repo)
ok(status == 0 and not err and "'golden'" in out, "the backup is listed", err)
status, out, err = restore()
ok(status == 0 and not err, "it is restored", err)
wrong = []
for path, (mode, mtime, size, digest) in want_files.items():
    found = os.path.join(f"{work}/data".encode(), path)
    st = os.stat(found)
    is_so = [f"{st.st_mode & 0o7777:04o}", str(int(st.st_mtime)), str(st.st_size),
             hashlib.sha256(slurp(found)).hexdigest()]
    if path == b"global/pg_control":
        is_so[1] = mtime  # the server writes it again and again
    if is_so != [mode, mtime, size, digest]:
        wrong.append(path)
ok(not wrong, "every file has its mode, time and content", wrong)
others = {os.path.relpath(os.path.join(d, f), f"{work}/data".encode())
          for d, _, files in os.walk(f"{work}/data".encode(), followlinks=True) for f in files}
others -= set(want_files)
ok(others == {b"backup_label", b"recovery.signal", b"postgresql.auto.conf"}, "and there is no other",
   others)
fresh()
status, out, err = ask("wal", repo, f"{work}/wal")
found = {n: hashlib.sha256(slurp(f"{work}/wal/{n}")).hexdigest() for n in os.listdir(f"{work}/wal")}
ok(status == 0 and found == want_wal, "every WAL file, and the tail", (found, want_wal, err))
fresh()

# --- its own functions, against what the page says and what the library says ---

ok(rescue.crc32c(b"123456789") == 0xE3069283, "CRC-32C")


def number(text):
    """What a varint is, or that it is damaged."""
    try:
        return rescue.Bytes(bytes.fromhex(text), "x").varint()
    except rescue.Damaged:
        return None


got = [number(t) for t in ("00", "7f", "8001", "ffffffffffffffffff01", "8000", "ff00", "808000")]
ok(got == [0, 127, 128, 2**64 - 1, None, None, None], "numbers have one form", got)
noise = bytes(n * 7919 % 251 for n in range(10000))
key = bytes(n * 31 % 256 for n in range(192))
if rescue.fast_xxh3 is not rescue.xxh3:
    lengths = [*range(300), 1023, 1024, 1025, 1087, 1088, 1089, 2048, 2049, 8191, 8192]
    ok(all(rescue.xxh3(noise[:n], s) == rescue.fast_xxh3(noise[:n], s) for n in lengths
           for s in (key, rescue.XXH3_SECRET)), "XXH3 in python is that of the library")
base = bytes.fromhex("00 14 02 00 00 c8 01 01 06 bd 01 04 02 01 04 01 08 04 04 04 00 00 00 00"
                     "62 b2 0e f0 f9 94 20 d7")
patch = bytes.fromhex("01 15 01 00 80 20 20 01 00 04 50 02 02 00 09 01 0a 01 00 00"
                      "eb 89 bd 88 d3 4b 9f 2c")
ok(rescue.xxh3(base[:-8]) == int.from_bytes(base[-8:], "little")
   and rescue.xxh3(patch[:-8]) == int.from_bytes(patch[-8:], "little"), "the hashes of the examples")


class Holder:
    """A map pack that holds the examples of the page, section 8."""
    path, ids = "example", ["new", "old"]

    @staticmethod
    def raw(off, length):
        return {4096: base, 0: patch}[off][:length]


packs = rescue.Packs(None, "app", {})
packs.get = lambda backup, pack: Holder
new, old = ("new", "d0"), ("old", "d3")
example = [(0, 8, new, 100), (8, 4, None, 0), (12, 4, old, 5), (16, 4, new, 108)]
ok(packs.map_runs("new", "m0", 4096, 32, "x") == (20, example), "the base of the example")
pages, runs = packs.map_runs("new", "m0", 0, len(patch), "x")
at = {p + i: (source, source and slot + i) for p, n, source, slot in runs for i in range(n)}
want = {p + i: (source, source and slot + i) for p, n, source, slot in example for i in range(n)}
want.update({9: (("new", "d2"), 40), 20: (("new", "d2"), 41)})
ok(pages == 21 and at == want, "and its patch", runs)

# --- damage ---


def objects():
    return sorted(os.path.relpath(os.path.join(d, f), repo) for d, _, files in os.walk(repo)
                  for f in files if f != "pgdr.json")


def mutations(data):
    """(what, the damaged object). Offsets that lie in each part of the envelope."""
    table = struct.unpack_from("<Q", data, len(data) - 132 + 64)[0]
    places = {"the magic": 0, "the kind": 10, "the version": 16, "the cipher": 22, "the repository": 30,
              "the key id": 42, "the salt": 60, "the time": 83, "the CRC": 90, "the first unit": 96,
              "the last unit": table - 5, "the table": table + 9, "the footer": len(data) - 100,
              "the SHA-256": len(data) - 30, "the end": len(data) - 1}
    for what, offset in places.items():
        yield f"a bit in {what}", data[:offset] + bytes([data[offset] ^ 4]) + data[offset + 1:]
    yield "the last byte missing", data[:-1]
    yield "half of it", data[:len(data) // 2]
    yield "nothing", b""
    yield "zeros", bytes(len(data))
    yield "a byte too many", data + b"\0"


def used(name):
    """Whether a restore reads it. Key copies stand in for each other, old WAL is not asked for."""
    segment = re.search(r"/([0-9A-F]{24})(\.[^/]*)?-[0-9a-f]{32}$", name)
    return not (name.startswith("keys/") or name.endswith("/key") or segment and (
        (segment[2] or "").endswith(".backup") or segment[1] < "00000001000000000000000A"))


plain_error = re.compile(r"(warning: [^\n]+\n)*error: [^\n]+\n\Z")
for name in filter(used, objects()):
    path = os.path.join(repo, name)
    data = slurp(path)
    bad = []
    for what, damaged in mutations(data):
        spit(path, damaged)
        try:
            status, out, err = restore()
        except Exception as e:  # noqa: BLE001, whatever it is, it is a defect
            status, err = 0, repr(e)
        if status != 1 or not plain_error.match(err) or path not in err:
            bad.append((what, status, err))
        if os.path.exists(f"{work}/data/global/pg_control"):
            bad.append((what, "pg_control was written"))
    os.unlink(path)
    status, out, err = restore()
    # Where nothing is known to come later, the end of the WAL looks like this.
    ends_here = "/tail/" in name or ".partial-" in name
    if not plain_error.match(err) if status == 1 else status or err or not ends_here:
        bad.append(("no such object", status, err))
    with open(path, "wb") as f:
        f.write(data)
    ok(not bad, f"{re.sub('[0-9a-f]{32}$', '', name)}: whatever is wrong with it is found", bad)

# Objects in each other's place are whole, but not what is looked for.
by_kind = {}
for name in filter(used, objects()):
    by_kind.setdefault(slurp(os.path.join(repo, name))[8:16], []).append(name)
for kind, names in by_kind.items():
    for one, other in zip(names, names[1:]):
        paths = [os.path.join(repo, n) for n in (one, other)]
        data = [slurp(p) for p in paths]
        spit(paths[0], data[1])
        status, out, err = restore()
        ok(status == 1 and plain_error.match(err), f"one {kind.decode()} in place of another", err)
        spit(paths[0], data[0])

# --- keys ---

keys = [os.path.join(repo, n) for n in objects() if n.startswith("keys/")]
saved = {p: slurp(p) for p in keys}
for path in keys[:2]:
    spit(path, saved[path][:-1])
status, out, err = restore()
ok(status == 0 and err.count("warning: ") == 2, "one good copy of the key is enough", err)
spit(keys[2], b"")
status, out, err = restore()
ok(status == 1 and plain_error.match(err), "none is not", err)
for path in keys:
    os.unlink(path)
status, out, err = restore()
ok(status == 0, "without keys the copy beside the backup is used", err)
for path in keys:
    with open(path, "wb") as f:
        f.write(saved[path])

# --- what is newer, and what is encrypted ---

summary = next(os.path.join(repo, n) for n in objects() if n.endswith("/summary"))
data = slurp(summary)
for what, at, text in (("version", 16, "version 2"), ("incompat", 18, "incompat 2")):
    newer = bytearray(data)
    for start, crc in ((0, 88), (len(data) - 132, 120)):
        newer[start + at] = 2
        struct.pack_into("<I", newer, start + crc, rescue.crc32c(newer[start:start + crc]))
        if not start:
            newer[-44:-12] = hashlib.sha256(newer[:-132]).digest()
    spit(summary, bytes(newer))
    status, out, err = restore()
    ok(status == 1 and "newer pgdr" in err and text in err and "damaged" not in err,
       f"a newer {what} is not called damage", err)
spit(summary, data)
status, out, err = ask("list", os.path.join(work, "encrypted"))
ok(status == 1 and "is encrypted" in err, "an encrypted repository is refused as such", err)
status, out, err = restore()
ok(status == 0, "at the end all is as it was", err)

shutil.rmtree(work)
print(f"1..{count}")
sys.exit(1 if failed else 0)
