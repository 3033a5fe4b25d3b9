#!/usr/bin/python3
"""Reads a pgdr repository without pgdr.

For the day when the program is not there, or is what is broken. Written from
docs/repository-format.md alone ("section n" below is a section of it), and sharing
no code with the program, so that it also proves that the page is enough.

    rescue.py list    REPO                        clusters and their backups
    rescue.py restore REPO BACKUP DIR [options]   a data directory, ready to be started
    rescue.py wal     REPO DIR [options]          WAL files, under PostgreSQL's names
    rescue.py pack    REPO BACKUP PACK [DIR]      what a data pack (d0, d1, ...) holds by
                                                  itself; into DIR when no manifest is left

It needs python3 (3.9 or newer), its standard library, and the program zstd. It reads
repositories in a directory and without encryption; the key of an encrypted one is
in the passphrase, and AES is not in python's library. Everything it hands out has been
compared with every digest that the format offers (the digest in a WAL file's name only
where libxxhash is installed; SHA-256 has proven the same bytes before). It changes
nothing in the repository, and puts nothing into a directory that is not empty.
"""

import argparse
import base64
import collections
import ctypes
import datetime
import grp
import hashlib
import hmac
import json
import os
import pwd
import re
import struct
import subprocess
import sys

MIB = 1 << 20
MASK = (1 << 64) - 1
P64 = 0x9E3779B185EBCA87
BACKUP_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}\Z")
SEGMENT = re.compile(r"[0-9A-F]{24}\Z")


class Trouble(Exception):
    """Something the user must know; the message is complete."""


class Damaged(Trouble):
    """An object breaks a rule of the format."""


def show(path):
    return os.fsdecode(path)


# --- CRC-32C, XXH3, HKDF ---------------------------------------------------------------


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# The secret of XXH3 when none is given: a constant of that algorithm.
XXH3_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8"
    "fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364ea"
    "c5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b"
    "16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def xxh3(data, secret=XXH3_SECRET):
    """XXH3-64 without a seed; as fast as python can (some ten MB a second)."""
    n = len(data)

    def le64(buf, off):
        return int.from_bytes(buf[off:off + 8], "little")

    def fold(a, b):
        product = a * b
        return product & MASK ^ product >> 64

    def avalanche(h):
        h &= MASK
        h = (h ^ h >> 37) * 0x165667919E3779F9 & MASK
        return h ^ h >> 32

    def avalanche64(h):
        h = (h ^ h >> 33) * 0xC2B2AE3D27D4EB4F & MASK
        h = (h ^ h >> 29) * 0x165667B19E3779F9 & MASK
        return h ^ h >> 32

    def mix(off, key):
        return fold(le64(data, off) ^ le64(secret, key),
                    le64(data, off + 8) ^ le64(secret, key + 8))

    if n == 0:
        return avalanche64(le64(secret, 56) ^ le64(secret, 64))
    if n <= 3:
        word = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return avalanche64(word ^ (le64(secret, 0) ^ le64(secret, 0) >> 32) & 0xFFFFFFFF)
    if n <= 8:
        first, last = (int.from_bytes(d, "little") for d in (data[:4], data[-4:]))
        h = last + (first << 32) ^ le64(secret, 8) ^ le64(secret, 16)
        h ^= (h << 49 | h >> 15) & MASK ^ (h << 24 | h >> 40) & MASK
        h = h * 0x9FB21C651E98DF25 & MASK
        h = (h ^ (h >> 35) + n) * 0x9FB21C651E98DF25 & MASK
        return h ^ h >> 28
    if n <= 16:
        low = le64(data, 0) ^ le64(secret, 24) ^ le64(secret, 32)
        high = le64(data, n - 8) ^ le64(secret, 40) ^ le64(secret, 48)
        return avalanche(n + int.from_bytes(low.to_bytes(8, "little"), "big") + high
                         + fold(low, high))
    acc = n * P64
    if n <= 128:
        for i in range((n - 1) // 32 + 1):
            acc += mix(16 * i, 32 * i) + mix(n - 16 * (i + 1), 32 * i + 16)
        return avalanche(acc)
    if n <= 240:
        acc = avalanche(acc + sum(mix(16 * i, 16 * i) for i in range(8)))
        acc += sum(mix(16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
        return avalanche(acc + mix(n - 16, 136 - 17))

    acc = [0xC2B2AE3D, P64, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
           0x85EBCA77C2B2AE63, 0x85EBCA77, 0x27D4EB2F165667C5, 0x9E3779B1]
    in_block = (len(secret) - 64) // 8
    keys = [struct.unpack_from("<8Q", secret, 8 * i) for i in range(in_block)]
    scramble = struct.unpack_from("<8Q", secret, len(secret) - 64)
    lanes = ((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4), (6, 7), (7, 6))

    def stripe(off, key):
        words = struct.unpack_from("<8Q", data, off)
        for i, other in lanes:
            k = words[i] ^ key[i]
            acc[i] += (k & 0xFFFFFFFF) * (k >> 32) + words[other]

    for i in range((n - 1) // 64):
        stripe(64 * i, keys[i % in_block])
        if i % in_block == in_block - 1:
            for lane in range(8):
                a = acc[lane] & MASK
                acc[lane] = (a ^ a >> 47 ^ scramble[lane]) * 0x9E3779B1 & MASK
    stripe(n - 64, struct.unpack_from("<8Q", secret, len(secret) - 64 - 7))
    return avalanche(n * P64 + sum(fold(acc[i] & MASK ^ le64(secret, 11 + 8 * i),
                                        acc[i + 1] & MASK ^ le64(secret, 19 + 8 * i))
                                   for i in (0, 2, 4, 6)))


def _fast_xxh3():
    """The same from the library, where it is installed: a hundred times as fast."""
    try:
        call = ctypes.CDLL("libxxhash.so.0").XXH3_64bits_withSecret
    except (OSError, AttributeError):
        return xxh3
    call.restype = ctypes.c_uint64
    call.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return lambda data, secret=XXH3_SECRET: call(bytes(data), len(data), secret, len(secret))


class Xxh128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def _library_xxh128():
    """XXH3-128, most significant byte first; None where the library is not installed."""
    try:
        call = ctypes.CDLL("libxxhash.so.0").XXH3_128bits
    except (OSError, AttributeError):
        return None
    call.restype = Xxh128
    call.argtypes = [ctypes.c_char_p, ctypes.c_size_t]

    def xxh128(data):
        h = call(bytes(data), len(data))
        return struct.pack(">QQ", h.high, h.low)
    return xxh128


fast_xxh3 = _fast_xxh3()
library_xxh128 = _library_xxh128()


def hkdf(secret, info, length):
    """RFC 5869, SHA-256, no salt."""
    prk = hmac.new(bytes(32), secret, "sha256").digest()
    out = block = b""
    for i in range(1, (length + 31) // 32 + 1):
        block = hmac.new(prk, block + info + bytes([i]), "sha256").digest()
        out += block
    return out[:length]


# --- zstd ------------------------------------------------------------------------------


def frame_content_size(frame, what):
    """What a zstd frame says its content is; a pgdr frame always says it."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        raise Damaged(f"{what}: not a zstd frame")
    flags = frame[4]
    single = flags >> 5 & 1
    width = (1 if single else 0, 2, 4, 8)[flags >> 6]
    at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    if not width or len(frame) < at + width:
        raise Damaged(f"{what}: a zstd frame without content size")
    return int.from_bytes(frame[at:at + width], "little") + (256 if width == 2 else 0)


def unzstd(frames, what, limit):
    """Contents of frames, one behind the other. At most limit bytes."""
    sizes = [frame_content_size(frame, what) for frame in frames]
    if sum(sizes) > limit:
        raise Damaged(f"{what}: {sum(sizes)} bytes of content, {limit} are allowed")
    if not frames:
        return []
    try:
        done = subprocess.run(["zstd", "-dcq"], input=b"".join(frames), capture_output=True)
    except FileNotFoundError:
        raise Trouble("cannot run 'zstd': install the package zstd") from None
    if done.returncode != 0 or len(done.stdout) != sum(sizes):
        said = done.stderr.decode(errors="replace").strip()
        raise Damaged(f"{what}: cannot be decompressed ({said or 'wrong length'})")
    out, at = [], 0
    for size in sizes:
        out.append(done.stdout[at:at + size])
        at += size
    return out


class Bytes:
    """Reads numbers one after the other from a piece of an object (section 1)."""

    def __init__(self, data, what):
        self.data, self.what, self.at = data, what, 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise Damaged(f"{self.what}: ends too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.u8()
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if value > MASK or (i and not byte):
                    break
                return value
        raise Damaged(f"{self.what}: a number is too long")

    def zz(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def count(self):
        """A number of things that take at least one byte each."""
        n = self.varint()
        if n > len(self.data):
            raise Damaged(f"{self.what}: {n} entries cannot be in {len(self.data)} bytes")
        return n

    def more(self):
        return self.at < len(self.data)


# --- Objects (section 4) ---------------------------------------------------------------


class Object:
    """One object: header, footer, table and units, checked as a whole when it is opened."""

    def __init__(self, repo, name, kind, facts=None, limit=1100 * MIB):
        self.repo, self.name, self.kind = repo, name, kind
        self.path = os.path.join(repo.root, *name.split("/"))
        try:
            self.file = open(self.path, "rb")
            self.size = os.fstat(self.file.fileno()).st_size
        except OSError as e:
            raise Trouble(f"cannot open '{self.path}': {e.strerror}") from None
        if facts and facts["size"] != self.size:
            self.damaged(f"has {self.size} bytes and not {facts['size']}")
        if not 92 + 8 + 132 <= self.size <= limit:
            self.damaged(f"{self.size} bytes are too few or too many")
        self._read_ends()
        digest = self._sha256(self.size - 132)
        if digest.digest() != self.footer[88:120]:
            self.damaged("its bytes are not those of its SHA-256")
        digest.update(self.footer)
        if facts and facts["sha256"] != digest.hexdigest():
            self.damaged("is not the object that another one refers to (SHA-256)")
        if facts and facts["stamp"] != self.stamp:
            self.damaged("is not the object that another one refers to (stamp)")
        self._read_table()

    def damaged(self, text):
        raise Damaged(f"'{self.path}' is damaged: {text}")

    def read(self, off, length):
        self.file.seek(off)
        data = self.file.read(length)
        if len(data) != length:
            self.damaged("became shorter while it was read")
        return data

    def _sha256(self, length):
        digest = hashlib.sha256()
        for off in range(0, length, MIB):
            digest.update(self.read(off, min(MIB, length - off)))
        return digest

    def _read_ends(self):
        self.header, self.footer = self.read(0, 92), self.read(self.size - 132, 132)
        for part, magic, length, what in ((self.header, 0x184D2A50, 84, "header"),
                                          (self.footer, 0x184D2A52, 124, "footer")):
            crc = part[88:92] if what == "header" else part[120:124]
            if struct.unpack_from("<II", part) != (magic, length):
                self.damaged(f"it has no {what}")
            if crc32c(part[:88 if what == "header" else 120]) != int.from_bytes(crc, "little"):
                self.damaged(f"the CRC of its {what} is wrong")
            version, incompat = struct.unpack_from("<HH", part, 16)
            if version > 1 or incompat:
                raise Trouble(f"'{self.path}' was written by a newer pgdr (version {version}, "
                              f"incompat {incompat}): this program knows version 1")
            if part[8:16] != self.kind:
                self.damaged(f"it is not of the kind {self.kind.decode()}")
            if version != 1 or part[23] != 0 or part[22] > 1:
                self.damaged(f"its {what} breaks the format")
        header, footer = self.header, self.footer
        if footer[124:] != b"PGDREND1" or header[22] != footer[22]:
            self.damaged("header and footer do not belong together")
        if header[40:80] != footer[24:64]:
            self.damaged("header and footer do not have the same key and salt")
        if header[22] == 1:
            raise Trouble(f"'{self.path}' is encrypted: this program reads repositories without "
                          "encryption only")
        self.repository_id, self.key_id = header[24:40], header[40:48].hex()
        self.stamp = (header[40:88]).hex()
        self.table_off, self.table_len, self.n_units, self.n_slots = \
            struct.unpack_from("<QIIQ", footer, 64)

    def _read_table(self):
        if self.table_len > 64 * MIB or self.table_off + self.table_len + 132 != self.size \
                or self.table_len < 8 or self.table_off < 92:
            self.damaged("its parts do not add up")
        self.table_frame = self.read(self.table_off, self.table_len)
        if struct.unpack_from("<II", self.table_frame) != (0x184D2A51, self.table_len - 8):
            self.damaged("it has no table")
        body = Bytes(self.table_frame[8:], f"table of '{self.path}'")
        self.sections = {}
        while body.more():
            kind = body.u8()
            if kind in self.sections:
                self.damaged(f"section {kind} is there twice")
            self.sections[kind] = body.take(body.varint())
        lengths = self.section(1)
        self.units, off = [], 92
        for _ in range(self.n_units):
            length = lengths.varint()
            self.units.append((off, length))
            off += length
        if lengths.more() or off != self.table_off:
            self.damaged("the lengths of its units do not add up")

    def section(self, kind):
        if kind not in self.sections:
            self.damaged(f"section {kind} is missing")
        return Bytes(self.sections[kind], f"section {kind} of '{self.path}'")

    def unit_frames(self, first, limit):
        """Frames of the units from first on, as many as have limit bytes of content."""
        frames, total = [], 0
        for off, length in self.units[first:]:
            frame = self.read(off, length)
            size = frame_content_size(frame, f"'{self.path}'")
            if size > MIB:
                self.damaged("a unit has more than 1 MiB")
            total += size
            if frames and total > limit:
                break
            frames.append(frame)
        return frames

    def contents(self, limit):
        """The contents of all units, one at a time, some 32 MiB in memory."""
        first, total = 0, 0
        while first < self.n_units:
            frames = self.unit_frames(first, 32 * MIB)
            for content in unzstd(frames, f"'{self.path}'", 33 * MIB):
                total += len(content)
                if total > limit:
                    self.damaged(f"it has more than {limit} bytes of content")
                yield content
            first += len(frames)

    def document(self, limit):
        """The text of a document (section 6)."""
        pieces = list(self.contents(limit))
        if any(len(p) != MIB for p in pieces[:-1]) or (pieces and not pieces[-1]):
            self.damaged("its units are not of 1 MiB")
        return b"".join(pieces)

    def close(self):
        self.file.close()


def parse_json(text, what):
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Damaged(f"{what}: not a JSON object")
    if value.get("pgdr", 1) != 1:
        raise Trouble(f"{what}: version {value['pgdr']} was written by a newer pgdr")
    return value


def member(line, name, what, kind=int):
    value = line.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) and kind is int \
            or kind is int and value < 0:
        raise Damaged(f"{what}: '{name}' is missing or wrong")
    return value


def facts_of(line, what):
    return {"size": member(line, "size", what), "sha256": member(line, "sha256", what, str),
            "stamp": member(line, "stamp", what, str)}


# --- The repository --------------------------------------------------------------------


class Repository:
    def __init__(self, root):
        self.root = root
        self.repository_id = None
        self.secrets = {}
        if not os.path.isdir(root):
            raise Trouble(f"cannot open '{root}': not a directory")

    def names(self, *where):
        """Names in a folder, without those that are no objects; none when it is not there."""
        try:
            found = os.listdir(os.path.join(self.root, *where))
        except FileNotFoundError:
            return []
        return sorted(n for n in found if not n.startswith(".") and n != "lost+found")

    def exists(self, *where):
        return os.path.exists(os.path.join(self.root, *where))

    def clusters(self):
        return [n for n in self.names() if n != "keys"
                and os.path.isdir(os.path.join(self.root, n))]

    def read_keys(self, cluster=None, backup=None):
        """Section 5. For each key, one good copy; else the copies beside a backup."""
        trouble = None
        names = [f"keys/{k}/{n}" for k in self.names("keys") for n in self.names("keys", k)]
        if not names and backup:
            names = [f"{cluster}/backups/{backup}/key"]
        for name in names:
            try:
                text = Object(self, name, b"PGDRKEYS", limit=MIB).document(64 << 10)
                for line in text.splitlines():
                    self._add_key(parse_json(line, f"'{name}'"), f"'{name}'")
            except Trouble as e:
                trouble = e
                print(f"warning: {e}", file=sys.stderr)
        if not self.secrets:
            raise trouble or Trouble(f"'{self.root}' has no keys: it is no repository of pgdr, or "
                                     "its keys are lost")

    def _add_key(self, wrap, what):
        if wrap.get("cipher") != "none":
            raise Trouble(f"{what}: the repository is encrypted, and this program reads only "
                          "those that are not")
        try:
            secret = bytes.fromhex(wrap["secret"])
            repository = bytes.fromhex(wrap["repository"])
        except (KeyError, ValueError, TypeError):
            raise Damaged(f"{what}: not a key") from None
        key_id = hkdf(secret, b"pgdr key id", 8).hex()
        if len(secret) != 32 or key_id != wrap.get("key"):
            raise Damaged(f"{what}: the secret is not that of its key id")
        self.repository_id = self.repository_id or repository
        self.secrets[key_id] = hkdf(secret, b"pgdr page hash", 192)

    def open(self, name, kind, facts=None, limit=1100 * MIB):
        found = Object(self, name, kind, facts, limit)
        if found.repository_id != self.repository_id:
            found.damaged("it belongs to another repository")
        if found.key_id not in self.secrets:
            found.damaged(f"its key {found.key_id} is not in the repository")
        return found

    def document(self, name, kind, limit, facts=None):
        found = self.open(name, kind, facts)
        if found.n_slots or set(found.sections) != {1}:
            found.damaged("it is not a document")
        text = found.document(limit)
        found.close()
        return text

    def backup_ids(self, cluster):
        for name in self.names(cluster, "backups"):
            if BACKUP_ID.match(name) and self.exists(cluster, "backups", name, "manifest") \
                    and self.exists(cluster, "backups", name, "summary"):
                yield name

    def summary(self, cluster, backup):
        name = f"{cluster}/backups/{backup}/summary"
        found = parse_json(self.document(name, b"PGDRSUMM", 16 * MIB), f"'{name}'")
        if found.get("id") != backup:
            raise Damaged(f"'{name}' is the summary of another backup")
        return found

    def retired(self, cluster, backup):
        names = self.names(cluster, "backups", backup)
        return any(n.startswith("deleted-") and n.replace("deleted-", "kept-", 1) not in names
                   for n in names)


# --- Packs and maps (sections 7 to 9, 11) ----------------------------------------------


def lines_of(text, what):
    if not text.endswith(b"\n"):
        raise Damaged(f"{what}: does not end with a line")
    return text[:-1].split(b"\n")


def packs_list(repo, cluster, backup, facts=None):
    """{(backup, pack): facts}; of older packs only size and slots are known."""
    name = f"{cluster}/backups/{backup}/packs"
    lines = lines_of(repo.document(name, b"PGDRPLST", 1 << 30, facts), f"'{name}'")
    packs, end = {}, False
    for line in lines:
        entry = parse_json(line, f"'{name}'")
        if end:
            raise Damaged(f"'{name}': goes on behind its end")
        if "ref" in entry:
            for pack, slots, _, size in entry["n"]:
                packs[entry["ref"], pack] = {"size": size, "slots": slots}
        elif "n" in entry:
            packs[backup, entry["n"]] = entry
        end = entry.get("end") is True
    if not end:
        raise Damaged(f"'{name}': its end is missing")
    return packs


class Pack(Object):
    """A data pack (dN) or a map pack (mN)."""

    def __init__(self, repo, cluster, backup, pack, facts):
        name = f"{cluster}/packs/{backup}/{int(pack[1:]) // 1000}/{pack}"
        whole = facts if facts and "sha256" in facts else None
        super().__init__(repo, name, b"PGDRPACK" if pack[0] == "d" else b"PGDRMAPS", whole)
        if self.repository_id != repo.repository_id or self.key_id not in repo.secrets:
            self.damaged("it belongs to another repository, or its key is lost")
        if facts and (facts["size"], facts["slots"]) != (self.size, self.n_slots):
            self.damaged("it is not the pack that the packs list names")
        if whole and (whole["units"] != self.n_units or whole["table"] != [
                self.table_off, self.table_len, hashlib.sha256(self.table_frame).hexdigest()]):
            self.damaged("its table is not the one that the packs list names")
        self.cached = collections.OrderedDict()
        if pack[0] == "d":
            self._read_slots()
        else:
            ids = self.section(6)
            self.ids = [ids.take(ids.varint()).decode("ascii", "replace")
                        for _ in range(ids.count())]

    def _read_slots(self):
        self.first_slot, slot = [], 0  # of each unit; None where it holds small files
        runs = self.section(2)
        self.slots_of = []
        while runs.more():
            units, slots = runs.varint(), runs.varint()
            if units > self.n_units - len(self.slots_of) or slots > 1024:
                self.damaged("section 2 names units that are not there")
            for _ in range(units):
                self.slots_of.append(slots)
                self.first_slot.append(slot if slots else None)
                slot += slots
        hashes = self.sections.get(5, b"")
        if len(self.slots_of) != self.n_units or slot != self.n_slots or len(hashes) % 8 \
                or len(hashes) // 8 < slot:
            self.damaged("its slots do not add up")
        self.hashes = struct.unpack(f"<{len(hashes) // 8}Q", hashes)
        self.page = self.section(7).varint()
        self.unit_of_slot = [u for u, n in enumerate(self.slots_of) for _ in range(n)]
        self.secret = self.repo.secrets[self.key_id]

    def unit(self, number):
        """Content of a unit. Those behind it come along: a process for each would be slow."""
        if number >= self.n_units:
            self.damaged(f"it has no unit {number}")
        if number not in self.cached:
            while sum(map(len, self.cached.values())) > 48 * MIB:
                self.cached.popitem(last=False)
            frames = self.unit_frames(number, 16 * MIB)
            for i, content in enumerate(unzstd(frames, f"'{self.path}'", 17 * MIB)):
                self.cached[number + i] = content
        return self.cached[number]

    def check_hash(self, data, hash_index, number, what):
        if fast_xxh3(data, self.secret) ^ number * P64 & MASK != self.hashes[hash_index]:
            self.damaged(f"{what} has not the hash that the pack says")

    def slot(self, slot, length, number, what):
        """One page, checked. number is the page's in its file, length what it must have."""
        if slot >= self.n_slots:
            self.damaged(f"it has no slot {slot}")
        unit = self.unit_of_slot[slot]
        at = (slot - self.first_slot[unit]) * self.page
        data = self.unit(unit)[at:at + self.page]
        if length is not None and len(data) != length:
            self.damaged(f"{what} has {len(data)} bytes and not {length}")
        self.check_hash(data, slot, number, what)
        return data

    def small_file(self, unit, off, length, number, what):
        if unit >= self.n_units or self.slots_of[unit] or number + self.n_slots >= len(self.hashes):
            self.damaged(f"{what} is not in unit {unit}")
        data = self.unit(unit)[off:off + length]
        if len(data) != length:
            self.damaged(f"{what} does not fit into unit {unit}")
        self.check_hash(data, self.n_slots + number, 0, what)
        return data

    def raw(self, off, length):
        """Bytes of a map pack."""
        out = b""
        for number in range(off // MIB, (off + length - 1) // MIB + 1):
            unit = self.unit(number)
            if len(unit) != MIB and number != self.n_units - 1:
                self.damaged("its units are not of 1 MiB")
            start = max(off - number * MIB, 0)
            out += unit[start:off + length - number * MIB]
        if len(out) != length:
            self.damaged("a map does not lie in it")
        return out

    def owners(self):
        """(path, unit, [(slot, page)] or (offset, length, number)) for all that it holds."""
        files = Bytes(unzstd([self.sections[3]], f"'{self.path}'", 64 * MIB)[0],
                      f"files of '{self.path}'")
        paths = [files.take(files.varint()) for _ in range(files.count())]
        owner, behind, number, unit = self.section(4), {}, 0, 0
        while unit < self.n_units:
            if self.slots_of[unit] == 0:
                for _ in range(owner.count()):
                    file, off, length = owner.varint(), owner.varint(), owner.varint()
                    yield paths[file], unit, (off, length, number)
                    number += 1
                unit += 1
                continue
            stretch = unit
            while stretch < self.n_units and self.slots_of[stretch]:
                stretch += 1
            slot = self.first_slot[unit]
            end = self.first_slot[stretch - 1] + self.slots_of[stretch - 1]
            while slot < end:
                file = owner.varint()
                page = behind.get(file, 0) + owner.zz()
                pages = owner.varint()
                if not 1 <= pages <= end - slot or page < 0 or file >= len(paths):
                    self.damaged("section 4 breaks the format")
                yield paths[file], None, [(slot + i, page + i) for i in range(pages)]
                behind[file] = page + pages
                slot += pages
            unit = stretch
        if owner.more():
            self.damaged("section 4 goes on behind its end")


class Packs:
    """All packs a backup uses, opened when they are needed, a few at a time."""

    def __init__(self, repo, cluster, known):
        self.repo, self.cluster, self.known = repo, cluster, dict(known)
        self.open, self.lists = collections.OrderedDict(), set()

    def get(self, backup, pack):
        key = (backup, pack)
        if key not in self.open:
            if key not in self.known:
                raise Damaged(f"pack {pack} of {backup} is used, but not in the packs list")
            if "sha256" not in self.known[key] and backup not in self.lists:
                self._read_older_list(backup)
            while len(self.open) >= 6:
                self.open.popitem(last=False)[1].close()
            self.open[key] = Pack(self.repo, self.cluster, backup, pack, self.known[key])
        self.open.move_to_end(key)
        return self.open[key]

    def _read_older_list(self, backup):
        """The digest of another backup's pack is in its own list, which may be gone."""
        self.lists.add(backup)
        if self.repo.exists(self.cluster, "backups", backup, "packs"):
            for key, facts in packs_list(self.repo, self.cluster, backup).items():
                if key in self.known and "sha256" in facts:
                    if facts["size"] != self.known[key]["size"]:
                        raise Damaged(f"two packs lists differ about {key[1]} of {key[0]}")
                    self.known[key] = facts

    def map_runs(self, backup, pack, off, length, want, base_only=False):
        """Section 8: (pages, [(first page, pages, None or (backup, pack), slot)]) of a file."""
        if length > 256 * MIB:
            raise Damaged(f"{want}: its map is too long")
        holder = self.get(backup, pack)
        data = holder.raw(off, length)
        what = f"map of {want} in '{holder.path}'"
        if length < 9 or fast_xxh3(data[:-8]) != int.from_bytes(data[-8:], "little"):
            raise Damaged(f"{what}: wrong hash")
        b = Bytes(data[:-8], what)

        def id_of(index):
            if index >= len(holder.ids):
                raise Damaged(f"{what}: no id {index}")
            return holder.ids[index]

        kind, pages, base = b.u8(), b.varint(), None
        if kind > 1 or pages > 1 << 32 or kind == 1 and base_only:
            raise Damaged(f"{what}: breaks the format")
        if kind == 1:
            base_backup, base_pack = id_of(b.varint()), f"m{b.varint()}"
            base = self.map_runs(base_backup, base_pack, b.varint(), b.varint(), want, True)
        sources, at, behind = [None], 0, [0]
        for _ in range(b.count()):
            source = id_of(b.varint())
            at += b.zz()
            sources.append((source, f"d{at}"))
            behind.append(behind[-1] + b.zz())
        n = b.count()
        used, source = [], 0
        for _ in range(n):
            source += b.zz()
            used.append(source)
        lengths = [(b.varint() if base else 0, b.varint()) for _ in range(n)]
        runs, page = [], 0
        for source, (kept, count) in zip(used, lengths):
            delta = b.zz()
            if not 0 <= source < len(sources) or not count:
                raise Damaged(f"{what}: breaks the format")
            page += kept
            if source:
                slot = behind[source] + delta
                if slot < 0:
                    raise Damaged(f"{what}: breaks the format")
                behind[source] = slot + count
            runs.append((page, count, sources[source], slot if source else 0))
            page += count
        if b.more() or page > pages or (not base and page != pages):
            raise Damaged(f"{what}: its runs do not add up")
        return pages, overlay(base[1], runs, pages) if base else runs


def overlay(base, patch, pages):
    """Runs of the base where the patch has none; what neither has is zeros, and left out."""
    out, at, i = [], 0, 0
    for first, count, source, slot in patch + [(pages, 0, None, 0)]:
        while at < first and i < len(base):
            start, length, from_pack, from_slot = base[i]
            low, high = max(start, at), min(start + length, first)
            if low < high:
                out.append((low, high - low, from_pack, from_slot + low - start))
            if start + length > first:
                break
            i += 1
        if count:
            out.append((first, count, source, slot))
        at = first + count
        while i < len(base) and base[i][0] + base[i][1] <= at:
            i += 1
    return out


# --- Manifest (section 10) -------------------------------------------------------------


def text_member(line, name, what):
    """A text as bytes; those that are not UTF-8 are in base64 under another name."""
    if name + "b" in line:
        try:
            return base64.b64decode(line[name + "b"], validate=True)
        except (ValueError, TypeError):
            raise Damaged(f"{what}: '{name}b' is not base64") from None
    value = line.get(name)
    return None if value is None else member(line, name, what, str).encode()


def check_path(path, what):
    if not path or b"\0" in path or any(p in (b"", b".", b"..") for p in path.split(b"/")):
        raise Damaged(f"{what}: refused path '{show(path or b'')}'")
    return path


class Manifest:
    def __init__(self, repo, cluster, backup, facts):
        self.repo, self.where = repo, f"{cluster}/backups/{backup}"
        what = f"'{self.where}/manifest'"
        text = repo.document(f"{self.where}/manifest", b"PGDRMANI", 64 * MIB, facts)
        lines = [parse_json(line, what) for line in lines_of(text, what)]
        self.head, self.parts, self.end = lines[0], lines[1:-1], lines[-1]
        before = text[:text[:-1].rfind(b"\n") + 1]
        if self.end.get("end") is not True \
                or self.end.get("sha256") != hashlib.sha256(before).hexdigest():
            raise Damaged(f"{what}: its end is missing or wrong")
        if self.head.get("id") != backup or [p.get("part") for p in self.parts] != list(
                range(1, len(self.parts) + 1)):
            raise Damaged(f"{what}: not that of its backup, or parts are missing")
        self.ids = member(self.head, "ids", what, list)
        self.block = member(self.head, "block", what)
        self.tablespaces = {member(t, "oid", what): text_member(t, "path", what)
                            for t in member(self.head, "tablespaces", what, list)}

    def files(self):
        """Lines of all parts. The totals are compared at the end."""
        count = size = 0
        last = b""
        for part in self.parts:
            name = f"{self.where}/manifest.{part['part']:04d}"
            what, in_part = f"'{name}'", 0
            found = self.repo.open(name, b"PGDRMANI", facts_of(part, what), 36 * MIB)
            for unit in found.contents(1 << 40):
                for text in lines_of(unit, what):
                    line = parse_json(text, what)
                    path = check_path(text_member(line, "p", what), what)
                    if path <= last:
                        raise Damaged(f"{what}: '{show(path)}' is not in order")
                    last = path
                    in_part += 1
                    size += line.get("s", 0)
                    yield path, line
            if in_part != part["files"]:
                raise Damaged(f"{what}: {in_part} lines and not {part['files']}")
            count += in_part
        if count != self.end["files"] or size != self.end["bytes"]:
            raise Damaged(f"'{self.where}/manifest': its totals are not those of its parts")


# --- Restoring (section 19) ------------------------------------------------------------


def fsync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def claim_directory(path):
    """Makes a directory, or takes one that is there and empty."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        if os.listdir(path):
            raise Trouble(f"'{show(path)}' is not empty: give an empty or a new directory")
    except OSError as e:
        raise Trouble(f"cannot make '{show(path)}': {e.strerror}") from None


class Restore:
    def __init__(self, repo, cluster, backup, target, mapping):
        self.summary = repo.summary(cluster, backup)
        what = f"'{cluster}/backups/{backup}/summary'"
        facts = {n: facts_of(member(self.summary, n, what, dict), what)
                 for n in ("manifest", "packs")}
        self.manifest = Manifest(repo, cluster, backup, facts["manifest"])
        self.packs = Packs(repo, cluster, packs_list(repo, cluster, backup, facts["packs"]))
        self.target, self.directories = os.fsencode(target), []
        self.files = self.bytes = 0
        self.defaults = self.manifest.head["defaults"]
        self._plan_tablespaces({os.fsencode(k): os.fsencode(v) for k, v in mapping.items()})

    def _plan_tablespaces(self, mapping):
        """{path in the data directory: where the link is to go}"""
        self.tablespaces = {}
        for oid, path in self.manifest.tablespaces.items():
            if path:
                key = str(oid).encode()
                new = mapping.pop(key, None) or mapping.pop(path, None) or path
                self.tablespaces[b"pg_tblspc/" + key] = os.path.abspath(new)
        if mapping:
            raise Trouble(f"the backup has no tablespace '{show(next(iter(mapping)))}'")

    def run(self):
        for where in [self.target, *self.tablespaces.values()]:
            claim_directory(where)
            self.own_directory(where)
        control = None
        for path, line in self.manifest.files():
            if path == b"global/pg_control":
                control = line  # with it this is a cluster: only when all else is durable
            else:
                self._restore_line(path, line)
        if not control:
            raise Damaged("the manifest does not name global/pg_control")
        return control

    def own_directory(self, path):
        os.chmod(path, int(self.defaults["dir_mode"], 8))
        self._own(path, {})

    def write_recovery(self, settings):
        """Archive recovery, up to the end of the WAL that was extracted."""
        conf = os.path.join(self.target, b"postgresql.auto.conf")
        with open(conf, "ab") as out:
            out.write(settings.encode())
            out.flush()
            self._own(out.fileno(), {})
            os.fsync(out.fileno())
        put_file(os.path.join(self.target, b"recovery.signal"), b"")

    def finish(self, control):
        """The rest, once the WAL is there too."""
        for path, mode in reversed(self.directories):
            os.chmod(path, mode)
            fsync(path)
        for where in [*self.tablespaces.values(), self.target]:
            fsync(where)
        self._restore_line(b"global/pg_control", control)
        fsync(os.path.join(self.target, b"global"))

    def _restore_line(self, path, line):
        what, kind = f"'{show(path)}'", line.get("k")
        where = os.path.join(self.target, path)
        try:
            if kind == "d":
                os.mkdir(where, 0o700)
                self._own(where, line)
                self.directories.append(
                    (where, int(line.get("o", self.defaults["dir_mode"]), 8)))
            elif kind == "l":
                if path not in self.tablespaces:  # what is behind it could be anywhere
                    raise Damaged(f"the link {what} is not one of a tablespace")
                os.symlink(self.tablespaces[path], where)
                self._own(where, line)
            elif kind is None:
                self._restore_file(path, line, where)
            else:
                raise Damaged(f"{what} is of the unknown kind '{kind}'")
        except OSError as e:
            raise Trouble(f"cannot write '{show(where)}': {e.strerror}") from None

    def _restore_file(self, path, line, where):
        what = f"'{show(path)}'"
        size = member(line, "s", what)
        if size > 1 << 50 or size and "m" not in line and "x" not in line:
            raise Damaged(f"{what}: the manifest does not say where its content is")
        fd = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as out:
            if "x" in line and size:
                backup, pack, unit, off, number = line["x"]
                found = self.packs.get(self.manifest.ids[backup], f"d{pack}")
                out.write(found.small_file(unit, off, size, number, what))
            elif size:
                self._write_pages(out, size, line["m"], what)
            out.truncate(size)
            out.flush()
            self._own(fd, line)
            os.fchmod(fd, int(line.get("o", self.defaults["mode"]), 8))
            if "t" in line:
                os.utime(fd, (line["t"], line["t"]))
            os.fsync(fd)
        self.files += 1
        self.bytes += size

    def _write_pages(self, out, size, where, what):
        backup, pack, off, length = where
        pages, runs = self.packs.map_runs(self.manifest.ids[backup], f"m{pack}", off, length, what)
        block = self.manifest.block
        if not (pages - 1) * block < size <= pages * block:
            raise Damaged(f"{what}: its map is for another size")
        for first, count, source, slot in runs:
            if source is None:
                continue
            found = self.packs.get(*source)
            if found.page != block:
                found.damaged("it has another page size")
            out.seek(first * block)
            for page in range(first, first + count):
                out.write(found.slot(slot + page - first, min(block, size - page * block), page,
                                     f"page {page} of {what}"))

    def _own(self, target, line):
        """Owner and group, as far as the one who restores may give them."""
        if os.geteuid() != 0:
            return

        def number(name, find):
            try:
                return int(name) if name.isdigit() else find(name)
            except KeyError:
                return -1

        user = (text_member(line, "u", "owner") or self.defaults["uid"].encode()).decode()
        group = (text_member(line, "g", "group") or self.defaults["gid"].encode()).decode()
        uid = number(user, lambda n: pwd.getpwnam(n).pw_uid)
        gid = number(group, lambda n: grp.getgrnam(n).gr_gid)
        if isinstance(target, int):
            os.chown(target, uid, gid)
        else:
            os.chown(target, uid, gid, follow_symlinks=False)


# --- WAL (sections 13 to 15, 17) -------------------------------------------------------


def lsn_of(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


class Wal:
    """The WAL of one system identifier. Segments are numbered through: LSN / segment size."""

    def __init__(self, repo, cluster, system, segment_size):
        self.repo, self.cluster, self.size = repo, cluster, segment_size
        self.system = str(system) + ("" if segment_size == 16 * MIB else f"-{segment_size}")
        if self.system not in repo.names(cluster, "wal") + repo.names(cluster, "tail"):
            raise Trouble(f"cluster '{cluster}' has no WAL of system {self.system}")
        self.folder = f"{cluster}/wal/{self.system}"

    def name(self, tli, number):
        per = (1 << 32) // self.size
        return f"{tli:08X}{number // per:08X}{number % per:08X}"

    def number(self, segment):
        return int(segment[8:16], 16) * ((1 << 32) // self.size) + int(segment[16:], 16)

    def objects(self, file):
        """Objects with the content of a file; more than one is a conflict."""
        where = "history" if file[8:9] == "." else f"{file[:8]}/{file[:16]}"
        return [f"{self.folder}/{where}/{n}"
                for n in self.repo.names(*self.folder.split("/"), *where.split("/"))
                if n[:-32] == file + "-" and len(n) == len(file) + 33]

    def read(self, file):
        """Content of a WAL file, or None."""
        names = self.objects(file)
        if not names:
            return None
        if len(names) > 1:
            raise Trouble(f"there are {len(names)} different files {file} ({', '.join(names)}): "
                          "move the wrong one away, then try again")
        found = self.repo.open(names[0], b"PGDRWAL1")
        meta = parse_json(bytes(found.section(14).data), f"'{found.path}'")
        size, valid = (member(meta, n, f"'{found.path}'") for n in ("size", "valid"))
        data = b"".join(found.contents(1 << 30))
        found.close()
        if meta.get("file") != file or len(data) != valid or not valid <= size <= 1 << 30 \
                or file[8:9] != "." and size != self.size:
            found.damaged("it is not what its name and table say")
        data += bytes(size - valid)
        if names[0][-32:] != meta.get("digest"):
            found.damaged("it was stored under another name")
        if library_xxh128:
            pieces = b"".join(library_xxh128(data[i:i + MIB]) for i in range(0, size, MIB))
            if hashlib.sha256(pieces).hexdigest()[:32] != meta.get("digest"):
                found.damaged("its content has not the digest of its name")
        return data

    def timelines(self):
        found = self.repo.names(self.cluster, "wal", self.system)
        found += self.repo.names(self.cluster, "tail", self.system)
        return sorted({int(n, 16) for n in found if re.match(r"[0-9A-F]{8}\Z", n)}
                      | {int(n[:8], 16) for n in self.repo.names(*self.folder.split("/"),
                                                                   "history")})

    def segments(self, tli):
        """Numbers of the finished segments of a timeline, and of its unfinished ones."""
        whole, begun = set(), set()
        for folder in self.repo.names(self.cluster, "wal", self.system, f"{tli:08X}"):
            for n in self.repo.names(self.cluster, "wal", self.system, f"{tli:08X}", folder):
                if SEGMENT.match(n[:24]) and n[24:25] == "-":
                    whole.add(self.number(n[:24]))
                elif SEGMENT.match(n[:24]) and n[24:33] == ".partial-":
                    begun.add(self.number(n[:24]))
        for n in self.repo.names(self.cluster, "tail", self.system, f"{tli:08X}"):
            if SEGMENT.match(n) and self.tails(tli, n):
                begun.add(self.number(n))
        return whole, begun - whole

    def path_to(self, tli):
        """[(timeline, first LSN, LSN where the path leaves it)], the last one without an end."""
        path, begin = [], 0
        if tli > 1:
            history = self.read(f"{tli:08X}.history")
            if history is None:
                raise Trouble(f"{tli:08X}.history is not in the repository: give another timeline")
            for line in history.decode(errors="replace").splitlines():
                words = line.split()
                if words and not words[0].startswith("#"):
                    end = lsn_of(words[1])
                    path.append((int(words[0]), begin, end))
                    begin = end
        return path + [(tli, begin, None)]

    def tails(self, tli, segment):
        """{session: [(start, end, name)]} of the tails of a segment."""
        where = [self.cluster, "tail", self.system, f"{tli:08X}", segment]
        sessions = collections.defaultdict(list)
        for n in self.repo.names(*where):
            m = re.match(r"([0-9A-F]{16})-([0-9A-F]{16})-([0-9a-f]{32})\Z", n)
            if m:
                sessions[m[3]].append((int(m[1], 16), int(m[2], 16), "/".join([*where, n])))
        return sessions

    def tail(self, tli, number):
        """The WAL of an unfinished segment, from its first byte on; empty when there is none."""
        name = self.name(tli, number)
        best = b""
        for objects in self.tails(tli, name).values():
            at, data = number * self.size, b""
            while True:
                reach = max((o for o in objects if o[0] <= at < o[1]), key=lambda o: o[1],
                            default=None)
                if not reach:
                    break
                start, end, n = reach
                text = self.repo.document(n, b"PGDRTAIL", self.size)
                if len(text) != end - start or end > (number + 1) * self.size:
                    raise Damaged(f"tail '{n}' has not the length that its name says")
                data += text[at - start:]
                at = end
            common = min(len(data), len(best))
            if data[:common] != best[:common]:
                raise Trouble(f"two tails of segment {name} differ: move the wrong one away")
            best = max(data, best, key=len)
        return best

    def last_piece(self, tli, number):
        tail = self.tail(tli, number)
        partial = (self.read(self.name(tli, number) + ".partial") or b"").rstrip(b"\0")
        common = min(len(tail), len(partial))
        if tail[:common] != partial[:common]:
            raise Trouble(f"tail and .partial of segment {self.name(tli, number)} differ")
        return max(tail, partial, key=len)

    def choose_timeline(self, tli, lsn):
        """The newest timeline that goes through a place; what PostgreSQL calls latest."""
        for candidate in reversed(self.timelines()):
            if candidate < tli:
                break
            if candidate > 1 and not self.objects(f"{candidate:08X}.history"):
                raise Trouble(f"there is WAL of timeline {candidate}, but {candidate:08X}.history is "
                              "not in the repository: name the timeline to follow with --timeline")
            for on, _, end in self.path_to(candidate):
                if on == tli and (end is None or end >= lsn):
                    return candidate
        return tli

    def extract(self, to, first, last_tli, last=None):
        """Segments from number first on, along the path to last_tli, up to number last."""
        for name in self.repo.names(self.cluster, "timelines", self.system, f"{last_tli:08X}"):
            print(f"warning: timeline {last_tli} has a mark '{name}': two histories contradict "
                  "each other", file=sys.stderr)
        written, reached = 0, None
        path = self.path_to(last_tli)
        for tli, begin, end in path:
            low = max(first, begin // self.size)
            whole, begun = self.segments(tli)
            known = [n for n in whole | begun if n >= low]
            high = max(known, default=low - 1) if end is None else (end - 1) // self.size
            if last is not None:
                high = min(high, last)
            for number in range(low, high + 1):
                leaves = end is not None and number == end // self.size
                data = self._segment(tli, number, whole, begun, number == high or leaves)
                if data is None:
                    if leaves or number == high and end is not None:
                        continue  # the next timeline has this one's bytes in its own segment
                    raise Trouble(f"segment {self.name(tli, number)} is not in the repository, "
                                  "but later ones are: WAL can be replayed up to there only (give "
                                  f"--to {self.name(tli, number - 1)} to do so)")
                if leaves:
                    data = data[:end % self.size] + bytes(self.size - end % self.size)
                put_file(os.path.join(to, self.name(tli, number)), data)
                written += 1
                reached = self.name(tli, number)
            if tli > 1:
                history = self.read(f"{tli:08X}.history")
                if history is not None:
                    put_file(os.path.join(to, f"{tli:08X}.history"), history)
        return written, reached

    def _segment(self, tli, number, whole, begun, is_last):
        if number in whole:
            return self.read(self.name(tli, number))
        if number in begun and is_last:
            piece = self.last_piece(tli, number)
            if piece:
                return piece + bytes(self.size - len(piece))
        return None


def put_file(path, data):
    try:
        with open(path, "xb") as out:
            os.fchmod(out.fileno(), 0o600)
            if os.geteuid() == 0:
                folder = os.stat(os.path.dirname(os.path.abspath(path)))
                os.fchown(out.fileno(), folder.st_uid, folder.st_gid)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except OSError as e:
        raise Trouble(f"cannot write '{show(path)}': {e.strerror}") from None


# --- The command line ------------------------------------------------------------------


def time_of(value):
    """Microseconds since 1970 as text."""
    if not isinstance(value, int):
        return "?"
    return datetime.datetime.fromtimestamp(value / 1e6, datetime.timezone.utc) \
        .strftime("%Y-%m-%d %H:%M:%S UTC")


def find_backup(repo, cluster, backup):
    """The full id for an id, a unique beginning of one, or 'latest'. Also the cluster."""
    if cluster is not None and cluster not in repo.clusters():
        raise Trouble(f"there is no cluster '{cluster}': try 'list'")
    found = [(c, b) for c in ([cluster] if cluster else repo.clusters())
             for b in repo.backup_ids(c) if backup == "latest" or b.startswith(backup)]
    if backup == "latest" and len({c for c, _ in found}) == 1:
        return found[-1]
    if len(found) != 1:
        raise Trouble(f"{len(found)} backups are called '{backup}': try 'list'"
                      + ("" if cluster else ", or name the cluster with --cluster"))
    return found[0]


def command_list(repo, _args):
    repo_ok = True
    try:
        repo.read_keys()
    except Damaged as e:
        print(f"error: {e}", file=sys.stderr)
        repo_ok = False
    for cluster in repo.clusters():
        print(f"cluster {cluster}")
        for backup in repo.backup_ids(cluster):
            try:
                if not repo.secrets:
                    repo.read_keys(cluster, backup)
                s = repo.summary(cluster, backup)
                print(f"  {backup}  PostgreSQL {s['pg_version'] // 10000}  "
                      f"{s['size'] / MIB:10.1f} MiB  timeline {s['timeline']}  "
                      f"consistent from {s['stop_lsn']}, {time_of(s['stop_time'])}"
                      + (f"  '{s['label']}'" if s.get("label") else "")
                      + ("  (retired)" if repo.retired(cluster, backup) else ""))
            except (Damaged, KeyError, TypeError) as e:
                repo_ok = False
                print(f"  {backup}  damaged")
                print(f"error: {e}", file=sys.stderr)
    return 0 if repo_ok else 1


def quote_setting(text):
    return "'" + text.replace("'", "''") + "'"


def command_restore(repo, args):
    cluster, backup = find_backup(repo, args.cluster, args.backup)
    repo.read_keys(cluster, backup)
    mapping = dict(m.split("=", 1) for m in args.tablespace_map)
    work = Restore(repo, cluster, backup, args.dir, mapping)
    s = work.summary
    wal = Wal(repo, cluster, s["system_id"], s["wal_segment_size"])
    tli, stop = s["timeline"], lsn_of(s["stop_lsn"])
    last_tli = args.timeline or wal.choose_timeline(tli, stop)
    folder = os.path.abspath(args.wal or os.path.join(args.dir, "pg_wal"))
    print(f"restoring backup {backup} of cluster '{cluster}' into '{args.dir}'")
    control = work.run()
    claim_directory(folder)
    work.own_directory(folder)
    first = lsn_of(s["start_lsn"]) // wal.size
    last = wal.number(args.to) if args.to else None
    count, reached = wal.extract(folder, first, last_tli, last)
    fsync(folder)
    if reached is None or wal.number(reached) < (stop - 1) // wal.size:
        raise Trouble(f"the WAL ends at segment {reached}, before the backup is consistent "
                      f"({s['stop_lsn']}): the data directory cannot be started")
    command = f'cp "{folder}/%f" "%p"' if args.wal else "false"
    settings = (f"\n# for recovery, by rescue.py\nrestore_command = {quote_setting(command)}\n"
                f"recovery_target_timeline = '{last_tli}'\narchive_mode = 'off'\n")
    work.write_recovery(settings)
    work.finish(control)
    print(f"{work.files} files, {work.bytes} bytes; {count} WAL segments, the last one {reached}")
    print(f"the data directory is consistent from {s['stop_lsn']}, {time_of(s['stop_time'])} on. "
          "For an earlier end than that of the WAL add recovery_target_time (or _name, _lsn, _xid) "
          f"and recovery_target_action to '{args.dir}/postgresql.auto.conf'. Remove "
          "archive_mode = 'off' there when the server is to archive again.")
    return 0


def command_wal(repo, args):
    clusters = [args.cluster] if args.cluster else repo.clusters()
    systems = [(c, s) for c in clusters for s in repo.names(c, "wal") if c in repo.clusters()]
    systems = [x for x in systems if args.system in (None, x[1])]
    if len(systems) != 1:
        for c, s in systems:
            print(f"--cluster {c} --system {s}")
        raise Trouble(f"the WAL of {len(systems)} systems fits: name one with --cluster, --system")
    cluster, system = systems[0]
    repo.read_keys(cluster, next(repo.backup_ids(cluster), None))
    number, _, size = system.partition("-")
    wal = Wal(repo, cluster, number, int(size or 16 * MIB))
    tli = int(args.to[:8], 16) if args.to else args.timeline or max(wal.timelines())
    if args.first:
        first = wal.number(args.first)
    else:
        first = min((n for t, _, _ in wal.path_to(tli) for n in set.union(*wal.segments(t))),
                    default=0)
    claim_directory(args.dir)
    count, reached = wal.extract(args.dir, first, tli, wal.number(args.to) if args.to else None)
    fsync(args.dir)
    if args.to and reached != args.to or not count:
        raise Trouble(f"{count} WAL segments, up to {reached}: the repository has no more")
    print(f"{count} WAL segments, the last one {reached}. To replay them:\n"
          f"restore_command = 'cp \"{os.path.abspath(args.dir)}/%f\" \"%p\"'")
    return 0


def command_pack(repo, args):
    """What section 7 says: a pack can be used without the manifest that led to it."""
    clusters = [c for c in repo.clusters() if repo.exists(c, "packs", args.backup)
                and args.cluster in (None, c)]
    if len(clusters) != 1 or not re.match(r"d[0-9]+\Z", args.pack):
        raise Trouble(f"{len(clusters)} clusters have packs of '{args.backup}'; PACK is d0, d1, …")
    repo.read_keys(clusters[0], args.backup)
    pack = Pack(repo, clusters[0], args.backup, args.pack, None)
    if args.dir:
        claim_directory(args.dir)
    for path, unit, where in pack.owners():
        what = f"'{show(path)}'"
        if unit is None:
            pages = [(n * pack.page, pack.slot(s, None, n, what)) for s, n in where]
            print(f"{what} pages {where[0][1]} to {where[-1][1]}")
        else:
            off, length, number = where
            pages = [(0, pack.small_file(unit, off, length, number, what))]
            print(f"{what} whole, {length} bytes")
        if args.dir:
            file = os.path.join(os.fsencode(args.dir), check_path(path, f"'{pack.path}'"))
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
                for off, data in pages:
                    out.seek(off)
                    out.write(data)
    return 0


def segment_name(text):
    if not SEGMENT.match(text):
        raise argparse.ArgumentTypeError("a segment has 24 digits, 000000010000000000000003")
    return text


def tablespace(text):
    if "=" not in text or not text.split("=", 1)[1]:
        raise argparse.ArgumentTypeError("OLD=NEW, OLD being the path or the OID")
    return text


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[2], add_help=True)
    commands = parser.add_subparsers(dest="command", required=True)
    sub = {name: commands.add_parser(name) for name in ("list", "restore", "wal", "pack")}
    for p in sub.values():
        p.add_argument("repo", metavar="REPO")
    for name in ("restore", "wal", "pack"):
        sub[name].add_argument("--cluster", help="when the repository has several")
    p = sub["restore"]
    p.add_argument("backup", metavar="BACKUP", help="an id, the beginning of one, or 'latest'")
    p.add_argument("dir", metavar="DIR", help="the data directory to make")
    p.add_argument("--tablespace-map", metavar="OLD=NEW", action="append", default=[], type=tablespace,
                   help="put a tablespace elsewhere; OLD is its path or OID; as often as needed")
    p.add_argument("--wal", metavar="FOLDER", help="put the WAL there, and not into pg_wal")
    p = sub["wal"]
    p.add_argument("dir", metavar="DIR", help="a new or empty folder for the WAL")
    p.add_argument("--system", help="when there are several: as in the folder wal/")
    p.add_argument("--from", dest="first", metavar="SEGMENT", type=segment_name)
    for name in ("restore", "wal"):
        sub[name].add_argument("--to", metavar="SEGMENT", type=segment_name,
                               help="the last segment (all)")
        sub[name].add_argument("--timeline", type=int, help="the one to end on (the newest)")
    p = sub["pack"]
    p.add_argument("backup", metavar="BACKUP")
    p.add_argument("pack", metavar="PACK")
    p.add_argument("dir", metavar="DIR", nargs="?")
    args = parser.parse_args()
    run = {"list": command_list, "restore": command_restore, "wal": command_wal,
           "pack": command_pack}[args.command]
    try:
        return run(Repository(args.repo), args)
    except Trouble as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError, IndexError, struct.error) as e:
        print(f"error: an object of '{args.repo}' breaks the format: {e!r}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
