import { CapabilitySet } from './capability-set.ts';

/**
 * The fourteen capabilities Docker gives a container that asks for nothing (mask `a80425fb`): enough for what images
 * expect of root inside (changing owners and users, low ports, ping), nothing that reaches the host.
 */
export const dockerDefault: CapabilitySet = CapabilitySet.of(
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
);
