import { binary, text, type ValueCodec } from './attribute-value.ts';
import { decodeAttributes, type RawAttribute, type WithUnknown, writeValue } from './attributes.ts';
import { IFLA_INFO } from './constants/if-link.ts';
import { NLA_F } from './constants/netlink.ts';
import { type BridgePortData, type LinkDataByKind, linkDataCodec, portDataCodec } from './link-kinds.ts';

/** IFLA_LINKINFO: what kind of link it is, and the data of that kind. */
export interface LinkInfo extends WithUnknown {
  /** `veth`, `bridge`, ... */
  kind?: string;
  /** Data of the kind, see {@link LinkDataByKind}. */
  data?: LinkDataByKind[keyof LinkDataByKind];
  /** Kind of the master this link is a port of. */
  portKind?: string;
  portData?: BridgePortData;
}

/** The kind decides how the data is read, so this one is not a table. */
export const linkInfo: ValueCodec<LinkInfo> = {
  nested: true,
  write(out, { kind, data, portKind, portData, unknown = [] }) {
    if (kind !== undefined) writeValue(out, IFLA_INFO.KIND, text, kind);
    if (data !== undefined) writeValue(out, IFLA_INFO.DATA | NLA_F.NESTED, linkDataCodec(kind ?? ''), data);
    if (portKind !== undefined) writeValue(out, IFLA_INFO.SLAVE_KIND, text, portKind);
    if (portData !== undefined)
      writeValue(out, IFLA_INFO.SLAVE_DATA | NLA_F.NESTED, portDataCodec(portKind ?? ''), portData);
    for (const { type, payload } of unknown) writeValue(out, type, binary, payload);
  },
  read(bytes) {
    const found = new Map<number, Buffer>();
    const unknown: RawAttribute[] = [];
    for (const { type, payload } of decodeAttributes(bytes)) {
      const plain = type & NLA_F.TYPE_MASK;
      if (known.has(plain)) found.set(plain, payload);
      else unknown.push({ type, payload: Buffer.from(payload) });
    }
    const info: LinkInfo = {};
    const [kind, data, portKind, portData] = [
      IFLA_INFO.KIND,
      IFLA_INFO.DATA,
      IFLA_INFO.SLAVE_KIND,
      IFLA_INFO.SLAVE_DATA,
    ].map((type) => found.get(type));
    if (kind) info.kind = text.read(kind);
    if (data) info.data = linkDataCodec(info.kind ?? '').read(data);
    if (portKind) info.portKind = text.read(portKind);
    if (portData) info.portData = portDataCodec(info.portKind ?? '').read(portData);
    if (unknown.length > 0) info.unknown = unknown;
    return info;
  },
};

const known: ReadonlySet<number> = new Set([
  IFLA_INFO.KIND,
  IFLA_INFO.DATA,
  IFLA_INFO.SLAVE_KIND,
  IFLA_INFO.SLAVE_DATA,
]);
