/** An archive in the "newc" format the kernel unpacks as its initramfs (Documentation/driver-api/early-userspace/buffer-format.rst). */
export function cpio(files) {
  const parts = [];
  const entries = [...files, { path: 'TRAILER!!!', mode: 0, content: Buffer.alloc(0) }];
  for (const [index, { path, mode, content = Buffer.alloc(0) }] of entries.entries()) {
    const name = Buffer.from(`${path}\0`);
    const fields = [index + 1, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    parts.push(padded(Buffer.concat([header, name])), padded(Buffer.from(content)));
  }
  return Buffer.concat(parts);
}

const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
