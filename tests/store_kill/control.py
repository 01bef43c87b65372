"""Makes one store into another by the same rows, but not as one change: the negative control.

Arguments: the backend, the store, and how the store is afterwards. With sqlite each row is a commit of
its own, what vouches for the others last; with file the document is written over the one that is there.
What else is made of it, or with another backend, is written where it is to be, what names it first.
"""

import os
import pathlib
import shutil
import sqlite3
import sys

PIECE = 4096


def rows(database, table):
    return set(database.execute(f"SELECT * FROM {table}"))


def by_rows(old, new):
    old, new = (sqlite3.connect(path / "store.db", isolation_level=None) for path in (old, new))
    tables = new.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (table,) in reversed(tables):
        columns = [column[1] for column in new.execute(f"PRAGMA table_info({table})")]
        before, after = rows(old, table), rows(new, table)
        where = " AND ".join(f"{column} IS ?" for column in columns)
        for row in sorted(before - after, key=repr):
            old.execute(f"DELETE FROM {table} WHERE {where}", row)
        for row in sorted(after - before, key=repr):
            old.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", row)


def in_place(old, new):
    write(old / "store.json", new / "store.json")


def write(to, source):
    content = source.read_bytes()
    with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0) as file:
        for start in range(0, len(content), PIECE):
            file.write(content[start : start + PIECE])


def by_files(old, new):
    folders = [path.relative_to(new) for path in new.rglob("*") if path.is_dir()]
    files = sorted((path.relative_to(new) for path in new.rglob("*") if path.is_file()), key=lambda path: path.name)
    for folder in sorted(folders):
        (old / folder).mkdir(mode=0o700, exist_ok=True)
    for file in files:
        if not (old / file).exists() or (old / file).read_bytes() != (new / file).read_bytes():
            write(old / file, new / file)
    for path in list(old.rglob("*")):
        if path.is_file() and path.relative_to(old) not in files:
            path.unlink()


backend, old, new = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
for key in new.parent.glob("*.key"):
    if not (old.parent / key.name).exists():
        shutil.copy2(key, old.parent)
made = [path.name for path in new.parent.iterdir() if not (old.parent / path.name).exists()]
if made or (old / "FORMAT").read_bytes() != (new / "FORMAT").read_bytes():
    by_files(old.parent, new.parent)
else:
    {"sqlite": by_rows, "file": in_place}[backend](old, new)
