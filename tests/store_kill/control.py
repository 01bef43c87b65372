"""Makes one store into another by the same rows, but not as one change: the negative control.

Arguments: the backend, the store, and how the store is afterwards. With sqlite each row is a commit of
its own, what vouches for the others last; with file the document is written over the one that is there.
"""

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
    document = (new / "store.json").read_bytes()
    with open(old / "store.json", "wb", buffering=0) as file:
        for start in range(0, len(document), PIECE):
            file.write(document[start : start + PIECE])


backend, old, new = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
for key in new.parent.glob("*.key"):
    if not (old.parent / key.name).exists():
        shutil.copy2(key, old.parent)
{"sqlite": by_rows, "file": in_place}[backend](old, new)
