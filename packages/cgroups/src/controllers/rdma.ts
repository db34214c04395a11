import { SpecError } from '@ns/libc';
import { type Driver, integerOrMax, orMax, type Parsed, parseFields, write } from '../change.ts';

/** RDMA resources by device name, `{ mlx5_0: { hcaHandles: 2 } }`. */
export type RdmaLimits = Readonly<Record<string, RdmaDeviceLimits>>;

/** Limits of one RDMA device. */
export interface RdmaDeviceLimits {
  hcaHandles?: number | 'max';
  hcaObjects?: number | 'max';
}

const count = integerOrMax(0, 2 ** 31 - 1);
const fields = { hcaHandles: count, hcaObjects: count };
type Devices = readonly (readonly [device: string, limits: Parsed<typeof fields>])[];

const plan = (devices: Devices) =>
  devices.map(([device, { hcaHandles, hcaObjects }]) => {
    const pairs = [
      ...(hcaHandles === undefined ? [] : [`hca_handle=${orMax(hcaHandles)}`]),
      ...(hcaObjects === undefined ? [] : [`hca_object=${orMax(hcaObjects)}`]),
    ];
    return write(`rdma.${device}`, 'rdma.max', `${device} ${pairs.join(' ')}`);
  });

export const rdma: Driver<RdmaLimits, Devices> = {
  parse(wanted, field) {
    if (typeof wanted !== 'object' || wanted === null)
      throw new SpecError(field, 'an object of limits by device', wanted);
    return Object.entries(wanted).map(([device, limits]) => {
      if (!/^[\w.-]{1,63}$/.test(device)) throw new SpecError(field, "device names such as 'mlx5_0'", device);
      return [device, parseFields(fields, limits, `${field}.${device}`)];
    });
  },
  v2: plan,
  v1: plan,
};
