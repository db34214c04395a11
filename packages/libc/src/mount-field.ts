/**
 * Undoes the kernel's octal escapes in a field of `/proc/PID/mountinfo` or `/proc/mounts` (`\040` for a space; also tab, newline,
 * backslash, `#`, and in overlay options comma and colon).
 *
 * @example
 * ```ts
 * const mountPoint = unescapeMountField('/media/my\\040disk'); // '/media/my disk'
 * ```
 */
export function unescapeMountField(field: string): string {
  if (!field.includes('\\')) return field;
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
