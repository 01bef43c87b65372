"""Env files as systemd's own loader reads them (EnvironmentFile=). In and out as in python_dotenv.py."""
import base64, ctypes, glob, json, sys

found = glob.glob("/usr/lib/*/systemd/libsystemd-shared-*.so") + glob.glob("/usr/lib/systemd/libsystemd-shared-*.so")
if not found:
    sys.exit("libsystemd-shared is not installed: apt-get install systemd")
systemd = ctypes.CDLL(sorted(found)[-1])
libc = ctypes.CDLL(None)
libc.fmemopen.restype = ctypes.c_void_p
libc.fmemopen.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
libc.fclose.argtypes = [ctypes.c_void_p]
systemd.load_env_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p))]


def read(document):
    content = base64.b64decode(document)
    buffer = ctypes.create_string_buffer(content, len(content))
    stream = libc.fmemopen(buffer, len(content), b"r")
    lines = ctypes.POINTER(ctypes.c_char_p)()
    status = systemd.load_env_file(stream, b"test", ctypes.byref(lines))
    libc.fclose(stream)
    if status < 0:
        return None
    result, place = {}, 0
    while lines and lines[place]:
        key, value = lines[place].split(b"=", 1)
        result[key.decode()] = base64.b64encode(value).decode()
        place += 1
    return result


json.dump([read(document) for document in json.load(sys.stdin)], sys.stdout)
