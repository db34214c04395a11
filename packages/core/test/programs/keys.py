"""Keys of a process: python3 -I keys.py OPERATION…, each `add NAME KEYRING` or `find NAME KEYRING`; one answer a line."""

import ctypes
import errno
import platform
import sys

libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, KEYCTL = {'x86_64': (248, 250), 'aarch64': (217, 219)}[platform.machine()]
KEYRINGS = {'session': -3, 'user': -4}
SEARCH = 10


def answer(result):
    return 'ok' if result > 0 else errno.errorcode[ctypes.get_errno()]


words = iter(sys.argv[1:])
for operation in words:
    name, keyring = next(words).encode(), ctypes.c_long(KEYRINGS[next(words)])
    if operation == 'add':
        print(answer(libc.syscall(ADD_KEY, b'user', name, b'secret', 6, keyring)))
    else:
        print(answer(libc.syscall(KEYCTL, SEARCH, keyring, b'user', name, 0)))
