"""What each provider weighs: crates, seconds to build, size of the program, its start, its memory.

benches/run weight [--debug] [FEATURE…]    writes the table of docs/weight.md; with features or --debug only prints it

--debug tries this script itself, with the debug build that is there. Builds the program once with each provider alone, with none and with all, below target/weight. The programs are started
in turn, so that what else the machine does meets all of them. Needs root and /dev/fuse, as the mount does."""

import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/weight.md"
BEGIN, END = "<!-- weight: begin -->\n", "<!-- weight: end -->\n"
KEPT = ROOT / "target/weight"
ROUNDS = 60


def features():
    """The names in Cargo.toml, and what is built if nobody says otherwise."""
    table = re.search(r"^\[features\]\n(.*?)^\[", (ROOT / "Cargo.toml").read_text(), re.M | re.S).group(1)
    return [name for name in re.findall(r"^([a-z]+) = ", table, re.M) if name != "default"]


def cargo(*words, feature):
    chosen = [] if feature == "all" else ["--no-default-features"]
    chosen += [] if feature in ("all", "none") else ["--features", feature]
    return ["cargo", *words, "--locked", *chosen]


def crates(feature):
    tree = cargo("tree", "--edges", "normal", "--prefix", "none", feature=feature)
    printed = subprocess.run(tree, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return len({" ".join(line.split()[:2]) for line in printed.splitlines() if line}) - 1


def target(profile):
    return ROOT / "target" if profile == "dev" else KEPT


def build(feature, profile):
    """The program, and the processor's seconds it took: those do not tell what else the machine did."""
    os.utime(ROOT / "src/lib.rs")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["build", "--quiet", "--profile", profile, "--bin", "secretfs", "--target-dir", target(profile)]
    make = cargo(*words, feature=feature)
    subprocess.run(make, cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    made = target(profile) / ("debug" if profile == "dev" else "release") / "secretfs"
    kept = KEPT / f"secretfs-{feature}"
    shutil.copy2(made, kept)
    print(f"{feature}: built in {took:.0f} s", file=sys.stderr)
    return kept, took


class Place:
    """A store with one secret, and a template of it."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix="secretfs-weight-")
        path = pathlib.Path(self.folder.name)
        self.words = [program, "--store", path / "store", "--key-file", path / "key"]
        self.options = {"cwd": path, "stdin": subprocess.DEVNULL}
        subprocess.run([*self.words, "init"], check=True, stdout=subprocess.DEVNULL, **self.options)
        set_it = [*self.words, "set", "a"]
        subprocess.run(set_it, check=True, input=b"b", stdout=subprocess.DEVNULL, cwd=path)
        (path / "templates").mkdir()
        (path / "mnt").mkdir()
        (path / "templates/f.tpl").write_text("<< secrets.a >>")

    def start_up(self):
        return seconds([*self.words, "exec", "--env", "A=a", "--", "true"], self.options)

    def memory(self):
        """In MiB, of a mount whose one file was read."""
        command = [*self.words, "mount", "templates", "mnt"]
        mount = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **self.options)
        try:
            while not mount.stdout.readline().startswith("secretfs: ready:"):
                assert mount.poll() is None, "no mount"
            assert (self.options["cwd"] / "mnt/f").read_text() == "b"
            time.sleep(1)
            status = pathlib.Path(f"/proc/{mount.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024
        finally:
            mount.terminate()
            mount.wait()


def seconds(command, options):
    start = time.perf_counter()
    subprocess.run(command, check=True, **options)
    return time.perf_counter() - start


def rows(names, profile):
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)
    _, whole = build(names[0], profile)
    built = {name: build(name, profile) for name in names}
    places = {name: Place(program) for name, (program, _) in built.items()}
    started = {name: [] for name in names}
    plain = []
    for _ in range(ROUNDS):
        plain.append(seconds(["true"], {}))
        for name in names:
            started[name].append(places[name].start_up())
    bare = statistics.median(plain)
    for name in names:
        program, took = built[name]
        memory = statistics.median(places[name].memory() for _ in range(3))
        start = (statistics.median(started[name]) - bare) * 1000
        size = program.stat().st_size / (1 << 20)
        yield f"| {name} | {crates(name)} | {took:.0f} | {size:.2f} | {start:.2f} | {memory:.1f} |\n"
    yield f"\nFrom nothing, with all crates, `{names[0]}` took {whole:.0f} s of one processor. `true` alone took {bare * 1000:.2f} ms.\n"


def main(words):
    profile = "dev" if "--debug" in words else "release"
    chosen = [word for word in words if word != "--debug"]
    names = chosen or ["none", *features(), "all"]
    head = "| feature | crates | build, CPU s | program, MiB | start, ms | memory, MiB |\n|---|---|---|---|---|---|\n"
    table = head + "".join(rows(names, profile))
    print(table)
    if not words:
        text = PAGE.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
