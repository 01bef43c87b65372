"""Env files as a shell reads them with `.`; takes the shell. In and out as in python_dotenv.py."""
import base64, json, subprocess, sys, tempfile

BATCH = 100

# Every batch of files in a shell of its own, which tells its state before and after them.
READ_ALL = """
state() { export -p; set +o; alias; printf '\\0'; }
set -a
unset FIRST K END EVIL  # So they are known to all shells before the first state.
X=expanded first=0
while [ $first -lt $COUNT ]; do
    ( at=$first found=
      state >&3
      while [ $at -lt $((first+SIZE)) ] && [ $at -lt $COUNT ]; do
          found=; . "$FOLDER/$at" && found=1
          printf "${found:+FIRST=%s\\0K=%s\\0END=%s\\0}${EVIL+EVIL=1\\0}.\\0" "${FIRST-unset}" "${K-unset}" "${END-unset}" >&3
          unset FIRST K END EVIL || exit
          at=$((at+1))
      done
      at=$first found=
      state >&3 ) 3>&1 >/dev/null 2>&1
    printf '..\\0'
    first=$((first+SIZE))
done
"""


def told(files, size):
    """What the shells print, by batches of this size."""
    # In memory, where files cost little, and so few that they need little of it.
    portions = [files[start : start + 20 * BATCH] for start in range(0, len(files), 20 * BATCH)]
    return [batch for portion in portions for batch in told_at_once(portion, size)]


def told_at_once(files, size):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for place, file in enumerate(files):
            with open(f"{folder}/{place}", "wb") as out:
                out.write(file)
        # Without programs on the PATH, what runs by mistake can do no more than shells themselves.
        environment = {"FOLDER": folder, "COUNT": str(len(files)), "SIZE": str(size), "PATH": "/nowhere", "HOME": "/expanded", "LC_ALL": "C.UTF-8"}
        shell = subprocess.run([sys.argv[1], "-c", READ_ALL], env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return split(shell.stdout.split(b"\0")[:-1], b"..")


def split(entries, end):
    parts = [[]]
    for entry in entries:
        if entry == end:
            parts.append([])
        else:
            parts[-1].append(entry)
    return parts[:-1]


def answer(entries):
    pairs = [entry.split(b"=", 1) for entry in entries if b"=" in entry]  # All else is from a file that has gone wild.
    return {name.decode(errors="replace"): base64.b64encode(value).decode() for name, value in pairs} or None


def together(batch, size):
    """The answers of files that were read one after the other, if none of them can have been about another."""
    answers = [answer(entries) for entries in split(batch[1:-1], b".")]
    is_calm = len(answers) == size and all(found and found.keys() == {"FIRST", "K", "END"} for found in answers)
    return answers if is_calm and batch[0] == batch[-1] else [None] * size


def alone(batch):
    return answer((split(batch[1:], b".") or [batch[1:]])[0])


files = [base64.b64decode(file) for file in json.load(sys.stdin)]
answers = []
for batch in told(files, BATCH):
    answers += together(batch, min(BATCH, len(files) - len(answers)))
# One that breaks off or goes wild is no matter to the others of its batch: they are read again, each alone.
again = [place for place, found in enumerate(answers) if found is None]
for place, batch in zip(again, told([files[place] for place in again], 1)):
    answers[place] = alone(batch)
json.dump(answers, sys.stdout)
