"""Env files as a shell reads them with `.`; takes the shell. In and out as in python_dotenv.py."""
import base64, json, os, subprocess, sys, tempfile

# Every file in a shell of its own, so that one that breaks off or goes wild is no matter to the next.
READ_ALL = """
set -a
i=0
while [ $i -lt $COUNT ]; do
    ( X=expanded; . "$FOLDER/$i" >/dev/null 2>&1 && printf 'FIRST=%s\\0K=%s\\0END=%s\\0' "${FIRST-unset}" "${K-unset}" "${END-unset}"
      [ -z "${EVIL+set}" ] || printf 'EVIL=1\\0' ) 2>/dev/null
    printf '.\\0'
    i=$((i+1))
done
"""

files = [base64.b64decode(file) for file in json.load(sys.stdin)]
with tempfile.TemporaryDirectory() as folder:
    for place, file in enumerate(files):
        with open(f"{folder}/{place}", "wb") as out:
            out.write(file)
    # Without programs on the PATH, what runs by mistake can do no more than shells themselves.
    environment = {"FOLDER": folder, "COUNT": str(len(files)), "PATH": "/nowhere", "HOME": "/expanded", "LC_ALL": "C.UTF-8"}
    shell = subprocess.run([sys.argv[1], "-c", READ_ALL], env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)

answers, found = [], {}
for entry in shell.stdout.split(b"\0")[:-1]:
    if entry == b".":
        answers.append(found or None)
        found = {}
    elif b"=" in entry:  # All else is from a file that has gone wild.
        name, value = entry.split(b"=", 1)
        found[name.decode(errors='replace')] = base64.b64encode(value).decode()
json.dump(answers, sys.stdout)
