/** A number of the kernel and its name in `ip`'s tables, both ways; numbers without a name are their own text. */
export interface NameTable {
  nameOf(number: number): string;
  numberOf(name: string | number): number | undefined;
}

/** Makes both directions of a table. */
export function nameTable(names: Readonly<Record<string, number>>): NameTable {
  const byNumber = new Map(Object.entries(names).map(([name, number]) => [number, name]));
  return {
    nameOf: (number) => byNumber.get(number) ?? String(number),
    numberOf(name) {
      if (typeof name === 'number') return name;
      if (Object.hasOwn(names, name)) return names[name];
      return /^\d+$/.test(name) ? Number(name) : undefined;
    },
  };
}

/** /etc/iproute2/rt_scopes */
export const scopes: NameTable = nameTable({ global: 0, site: 200, link: 253, host: 254, nowhere: 255 });
/** /etc/iproute2/rt_tables */
export const tables: NameTable = nameTable({ unspec: 0, default: 253, main: 254, local: 255 });
/** /etc/iproute2/rt_protos */
export const protocols: NameTable = nameTable({
  unspec: 0,
  redirect: 1,
  kernel: 2,
  boot: 3,
  static: 4,
  ra: 9,
  dhcp: 16,
});
/** RTN_* */
export const routeKinds: NameTable = nameTable({
  unspec: 0,
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
});
