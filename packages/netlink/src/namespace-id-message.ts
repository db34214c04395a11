import { s32, u32 } from './attribute-value.ts';
import type { WithUnknown } from './attributes.ts';
import { NETNSA } from './constants/rtnetlink.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';

/** `struct rtgenmsg`. */
export interface NamespaceIdHeader {
  readonly family: number;
}

/** Attributes of a request for the id one network namespace gave another. */
export interface NamespaceIdAttributes extends WithUnknown {
  /** -1 when there is none. */
  id?: number;
  pid?: number;
  fd?: number;
}

/** RTM_NEWNSID, RTM_GETNSID. */
export const namespaceIdPayload: PayloadCodec<NamespaceIdHeader, NamespaceIdAttributes> = payloadCodec<
  NamespaceIdHeader,
  NamespaceIdAttributes
>(
  [
    ['family', 'u8'],
    ['', 'pad8'],
    ['', 'pad16'],
  ],
  { id: [NETNSA.NSID, s32], pid: [NETNSA.PID, u32], fd: [NETNSA.FD, u32] },
);
