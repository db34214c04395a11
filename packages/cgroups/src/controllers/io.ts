import { SpecError } from '@ns/libc';
import { blockDevice } from '../block-device.ts';
import {
  absent,
  type Change,
  type Driver,
  integer,
  integerOrMax,
  orMax,
  type Parsed,
  parseFields,
  type ReadFile,
  write,
} from '../change.ts';
import { parseSize, type Size } from '../size.ts';

/** Limits of the io controller (v1: blkio). */
export interface IoLimits {
  /** Share of io time among siblings, 1 to 10,000, default 100. Needs the BFQ scheduler or the iocost controller. */
  weight?: number;
  devices?: readonly IoDeviceLimits[];
}

/** Limits of one device. Rates are per second, `'max'` lifts one. */
export interface IoDeviceLimits {
  /** `'/dev/vda'`, `'8:0'`, or a path on it. */
  device: string;
  weight?: number;
  readBps?: Size;
  writeBps?: Size;
  readIops?: number | 'max';
  writeIops?: number | 'max';
  /** Latency to be kept, in µs; others are throttled for it. v2 with CONFIG_BLK_CGROUP_IOLATENCY. */
  latencyTargetUs?: number;
}

const iops = integerOrMax(1, 2 ** 32 - 1);
const deviceFields = {
  device: blockDevice,
  weight: integer(1, 10_000),
  readBps: parseRate,
  writeBps: parseRate,
  readIops: iops,
  writeIops: iops,
  latencyTargetUs: integer(0, 2 ** 43),
};
type Device = Parsed<typeof deviceFields> & { readonly device: string };

function parseRate(value: unknown, field: string): number {
  const bytes = parseSize(value, field);
  if (bytes === 0)
    throw new SpecError(
      field,
      'at least one byte per second',
      value,
      "The kernel reads 0 as an error; 'max' means no limit",
    );
  return bytes;
}

function parseDevices(value: unknown, field: string): readonly Device[] {
  if (!Array.isArray(value)) throw new SpecError(field, 'an array of devices', value);
  return value.map((item, index) => {
    const parsed = parseFields(deviceFields, item, `${field}[${index}]`);
    if (parsed.device === undefined) throw new SpecError(`${field}[${index}].device`, 'a device', undefined);
    return { ...parsed, device: parsed.device };
  });
}

const fields = { weight: integer(1, 10_000), devices: parseDevices };

const rates = [
  ['readBps', 'rbps', 'blkio.throttle.read_bps_device'],
  ['writeBps', 'wbps', 'blkio.throttle.write_bps_device'],
  ['readIops', 'riops', 'blkio.throttle.read_iops_device'],
  ['writeIops', 'wiops', 'blkio.throttle.write_iops_device'],
] as const;

const noWeight = {
  why: 'no io scheduler with weights is in use',
  fix: 'Choose bfq in /sys/block/DEVICE/queue/scheduler, or enable iocost in /sys/fs/cgroup/io.cost.qos',
};
const noThrottling = { why: 'the kernel was built without CONFIG_BLK_DEV_THROTTLING' };

// BFQ's own range is 1 to 1,000 (default 100) on v1 and v2; v2's io.weight (iocost) is 1 to 10,000.
const bfqWeight = (weight: number): number => Math.min(weight, 1_000);

function weightChanges(
  field: string,
  prefix: string,
  value: number,
  read: ReadFile,
  weightFile: string | undefined,
): readonly Change[] {
  const bfqFile = weightFile === 'io.weight' ? 'io.bfq.weight' : 'blkio.bfq.weight';
  const changes: Change[] = [];
  if (weightFile && read(weightFile) !== undefined) changes.push(write(field, weightFile, `${prefix}${value}`));
  if (read(bfqFile) !== undefined) changes.push(write(field, bfqFile, `${prefix}${bfqWeight(value)}`));
  return changes.length > 0 ? changes : [absent(field, noWeight.why, noWeight.fix)];
}

export const io: Driver<IoLimits, Parsed<typeof fields>> = {
  parse: (wanted, field) => parseFields(fields, wanted, field),

  v2({ weight, devices = [] }, read) {
    const changes: Change[] = [];
    if (weight !== undefined) changes.push(...weightChanges('io.weight', 'default ', weight, read, 'io.weight'));
    for (const [index, device] of devices.entries()) {
      const field = `io.devices[${index}]`;
      const pairs = rates.flatMap(([key, name]) =>
        device[key] === undefined ? [] : [`${name}=${orMax(device[key])}`],
      );
      if (pairs.length > 0) changes.push(write(field, 'io.max', `${device.device} ${pairs.join(' ')}`, noThrottling));
      if (device.weight !== undefined) {
        changes.push(...weightChanges(`${field}.weight`, `${device.device} `, device.weight, read, 'io.weight'));
      }
      if (device.latencyTargetUs !== undefined) {
        const noLatency = { why: 'the kernel was built without CONFIG_BLK_CGROUP_IOLATENCY' };
        changes.push(
          write(
            `${field}.latencyTargetUs`,
            'io.latency',
            `${device.device} target=${device.latencyTargetUs}`,
            noLatency,
          ),
        );
      }
    }
    return changes;
  },

  v1({ weight, devices = [] }, read) {
    const changes: Change[] = [];
    if (weight !== undefined) changes.push(...weightChanges('io.weight', '', weight, read, undefined));
    for (const [index, device] of devices.entries()) {
      const field = `io.devices[${index}]`;
      for (const [key, , file] of rates) {
        const rate = device[key];
        // v1 lifts a rate with 0.
        if (rate !== undefined)
          changes.push(
            write(
              `${field}.${key}`,
              file,
              `${device.device} ${rate === Number.POSITIVE_INFINITY ? 0 : rate}`,
              noThrottling,
            ),
          );
      }
      if (device.weight !== undefined) {
        const file = 'blkio.bfq.weight_device';
        changes.push(write(`${field}.weight`, file, `${device.device} ${bfqWeight(device.weight)}`, noWeight));
      }
      if (device.latencyTargetUs !== undefined)
        changes.push(absent(`${field}.latencyTargetUs`, 'the blkio controller of cgroup v1 does not have it'));
    }
    return changes;
  },
};
