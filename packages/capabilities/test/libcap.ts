import { execFileSync } from 'node:child_process';

// libcap itself, through the interpreter that Debian's libseccomp bindings need anyway.
const program = `
import ctypes, json, sys
l = ctypes.CDLL('libcap.so.2')
l.cap_from_text.restype = l.cap_to_text.restype = ctypes.c_void_p
l.cap_from_text.argtypes = [ctypes.c_char_p]
l.cap_to_text.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
l.cap_free.argtypes = [ctypes.c_void_p]
l.cap_get_flag.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
def parse(text):
    caps = l.cap_from_text(text.encode())
    if not caps: return None
    masks = [0, 0, 0]
    value = ctypes.c_int()
    for flag in range(3):
        for n in range(64):
            if l.cap_get_flag(caps, n, flag, ctypes.byref(value)) == 0 and value.value: masks[flag] |= 1 << n
    out = l.cap_to_text(caps, None)
    answer = ['%x' % m for m in masks] + [ctypes.string_at(out).decode()]
    l.cap_free(out)
    l.cap_free(caps)
    return answer
json.dump([parse(t) for t in json.load(sys.stdin)], sys.stdout)
`;

/** What libcap makes of a text: effective, permitted, inheritable as hexadecimal masks, and the text it prints for them. */
export type Verdict = [effective: string, permitted: string, inheritable: string, text: string] | null;

/** cap_from_text(3) and cap_to_text(3) of libcap; null for what it refuses. */
export function askLibcap(texts: readonly string[]): Verdict[] {
  return JSON.parse(
    execFileSync('python3', ['-c', program], { input: JSON.stringify(texts), encoding: 'utf8' }),
  ) as Verdict[];
}

/** Why libcap cannot be asked, or undefined. */
export function libcapMissing(): string | undefined {
  try {
    return askLibcap(['=']).length === 1 ? undefined : 'libcap gives no answer';
  } catch {
    return 'no python3 with libcap.so.2';
  }
}
