# A service as they are: reads its config when it is told to, and logs in. Also maps the file.
import base64, json, mmap, sys, urllib.error, urllib.request

config, url = sys.argv[1:]
maps = []


def login():
    with open(config) as file:
        database = json.load(file)["database"]
    pair = f"{database['username']}:{database['password']}".encode()
    request = urllib.request.Request(url, headers={"Authorization": "Basic " + base64.b64encode(pair).decode()})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


def map_file():
    with open(config, "rb") as file:
        maps.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    return len(maps) - 1


for line in sys.stdin:
    command = line.split()
    if command[0] == "login":
        print(login(), flush=True)
    elif command[0] == "map":
        print(map_file(), flush=True)
    else:
        print(maps[int(command[1])][:].hex(), flush=True)
