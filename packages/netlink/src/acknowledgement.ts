import { text, u32 } from './attribute-value.ts';
import { type AttributeTable, readAttributes, type WithUnknown } from './attributes.ts';
import { NLM_F, NLMSGERR_ATTR } from './constants/netlink.ts';
import { MalformedMessageError } from './errors.ts';
import type { NetlinkMessage } from './message.ts';

/** NLMSG_ERROR: the answer to a request, with errno 0 when it was done. */
export interface Acknowledgement extends ExtendedAcknowledgement {
  /** Negated errno, or 0. */
  readonly errno: number;
}

/** What the kernel adds since 4.12. */
interface ExtendedAcknowledgement extends WithUnknown {
  /** Its words; a warning when `errno` is 0. */
  message?: string;
  /** Where in the request the refused attribute begins, header included. */
  offset?: number;
  /** Type of an attribute that is missing. Since 6.1. */
  missingType?: number;
}

const table: AttributeTable<ExtendedAcknowledgement> = {
  message: [NLMSGERR_ATTR.MSG, text],
  offset: [NLMSGERR_ATTR.OFFS, u32],
  missingType: [NLMSGERR_ATTR.MISS_TYPE, u32],
};

const ERRNO_SIZE = 4;
const HEADER_SIZE = 16;

/** Reads the payload of NLMSG_ERROR, or of an NLMSG_DONE that carries an errno. */
export function decodeAcknowledgement(message: NetlinkMessage): Acknowledgement {
  const { payload, flags } = message;
  if (payload.length < ERRNO_SIZE) throw new MalformedMessageError(`acknowledgement of ${payload.length} bytes`);
  const errno = payload.readInt32LE(0);
  if ((flags & NLM_F.ACK_TLVS) === 0) return { errno };
  return { ...readAttributes(table, payload.subarray(attributesStart(payload, flags))), errno };
}

function attributesStart(payload: Buffer, flags: number): number {
  // NLMSG_DONE has only the errno in front; NLMSG_ERROR quotes the request's header, and all of the request unless capped.
  if ((flags & NLM_F.MULTI) !== 0) return ERRNO_SIZE;
  if ((flags & NLM_F.CAPPED) !== 0) return ERRNO_SIZE + HEADER_SIZE;
  return ERRNO_SIZE + ((payload.readUInt32LE(ERRNO_SIZE) + 3) & ~3);
}
