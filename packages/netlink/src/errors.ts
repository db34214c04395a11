import { NsError, type SyscallContext, SyscallError } from '@ns/libc';

/** Bytes that are not netlink. Code `ERR_NS_NETLINK_MALFORMED`. */
export class MalformedMessageError extends NsError {
  constructor(what: string) {
    super('ERR_NS_NETLINK_MALFORMED', `malformed netlink message: ${what}`, {
      hint: 'Likely the bytes are cut off, or not of the kernel: report it with the message when they are',
    });
  }
}

/** The kernel dropped multicast messages because they were not read fast enough. Code `ERR_NS_NETLINK_OVERRUN`. */
export class OverrunError extends NsError {
  constructor() {
    super('ERR_NS_NETLINK_OVERRUN', 'netlink events were lost', {
      hint: 'List the objects again and start a new event stream, with a larger receiveBufferBytes',
    });
  }
}

/** A dump stayed inconsistent because the objects changed during every attempt. Code `ERR_NS_NETLINK_DUMP_INTERRUPTED`. */
export class DumpInterruptedError extends NsError {
  constructor(attempts: number) {
    super(
      'ERR_NS_NETLINK_DUMP_INTERRUPTED',
      `the listed objects changed during each of ${attempts} attempts to list them`,
      {
        hint: 'Try again when fewer changes are being made',
      },
    );
  }
}

/** What a {@link NetlinkError} knows besides the errno. */
export interface NetlinkErrorContext extends SyscallContext {
  readonly kernelMessage?: string | undefined;
  readonly attribute?: string | undefined;
}

/**
 * A request the kernel refused. `code` is the errno's name, `syscall` the message type (`RTM_NEWLINK`), and
 * {@link kernelMessage} the kernel's own explanation where it gave one (extended acknowledgements, since 4.12).
 */
export class NetlinkError extends SyscallError {
  /** The kernel's words. */
  readonly kernelMessage?: string;
  /** Which attribute of the request it refused or missed. */
  readonly attribute?: string;

  constructor(operation: string, errno: number, context: NetlinkErrorContext = {}) {
    const { kernelMessage, attribute, doing = operation } = context;
    const at = attribute === undefined ? '' : ` (attribute ${attribute})`;
    super(operation, errno, {
      ...context,
      doing: kernelMessage === undefined ? `${doing}${at}` : `${doing}: the kernel says "${kernelMessage}"${at}`,
    });
    if (kernelMessage !== undefined) this.kernelMessage = kernelMessage;
    if (attribute !== undefined) this.attribute = attribute;
  }
}
