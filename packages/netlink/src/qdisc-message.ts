import { binary, text, u8, u32 } from './attribute-value.ts';
import type { WithUnknown } from './attributes.ts';
import { TCA } from './constants/rtnetlink.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';

/** `struct tcmsg`. */
export interface QdiscHeader {
  readonly family: number;
  readonly index: number;
  /** Major number in the upper half, minor in the lower. */
  readonly handle: number;
  /** TC_H_ROOT is 0xffffffff, TC_H_INGRESS 0xfffffff1. */
  readonly parent: number;
  readonly info: number;
}

/** Attributes of a queueing discipline. What the options mean depends on the kind. */
export interface QdiscAttributes extends WithUnknown {
  kind?: string;
  options?: Buffer;
  hardwareOffload?: number;
  ingressBlock?: number;
  egressBlock?: number;
}

/** RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC. */
export const qdiscPayload: PayloadCodec<QdiscHeader, QdiscAttributes> = payloadCodec<QdiscHeader, QdiscAttributes>(
  [
    ['family', 'u8'],
    ['', 'pad8'],
    ['', 'pad16'],
    ['index', 's32'],
    ['handle', 'u32'],
    ['parent', 'u32'],
    ['info', 'u32'],
  ],
  {
    kind: [TCA.KIND, text],
    options: [TCA.OPTIONS, binary],
    hardwareOffload: [TCA.HW_OFFLOAD, u8],
    ingressBlock: [TCA.INGRESS_BLOCK, u32],
    egressBlock: [TCA.EGRESS_BLOCK, u32],
  },
);
