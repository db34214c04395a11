import { text, type ValueCodec } from './attribute-value.ts';
import { decodeAttributes, encodeAttributes, type RawAttribute, type WithUnknown } from './attributes.ts';
import { ByteWriter } from './byte-writer.ts';
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

function payloadOf<Value>(codec: ValueCodec<Value>, value: Value): Buffer {
  const out = new ByteWriter();
  codec.write(out, value);
  return out.finish();
}

/** The kind decides how the data is read, so this one is not a table. */
export const linkInfo: ValueCodec<LinkInfo> = {
  nested: true,
  write(out, info) {
    const attributes: RawAttribute[] = [];
    if (info.kind !== undefined) attributes.push({ type: IFLA_INFO.KIND, payload: payloadOf(text, info.kind) });
    if (info.data !== undefined)
      attributes.push({
        type: IFLA_INFO.DATA | NLA_F.NESTED,
        payload: payloadOf(linkDataCodec(info.kind ?? ''), info.data),
      });
    if (info.portKind !== undefined)
      attributes.push({ type: IFLA_INFO.SLAVE_KIND, payload: payloadOf(text, info.portKind) });
    if (info.portData !== undefined) {
      attributes.push({
        type: IFLA_INFO.SLAVE_DATA | NLA_F.NESTED,
        payload: payloadOf(portDataCodec(info.portKind ?? ''), info.portData),
      });
    }
    out.raw(encodeAttributes([...attributes, ...(info.unknown ?? [])]));
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
