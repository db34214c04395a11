import { onlyKnownKeys, SpecError } from '@ns/libc';

/** A security context: `system_u:system_r:container_t:s0:c1,c2`. */
export interface SelinuxContext {
  /** SELinux user, `system_u`; not a user of the machine. */
  readonly user: string;
  /** `system_r` of processes, `object_r` of files. */
  readonly role: string;
  /** What rules are about: `container_t`. */
  readonly type: string;
  /** Sensitivity and categories, `s0:c1,c2` or a range `s0-s0:c0.c1023`; `undefined` where the policy has none. */
  readonly level: string | undefined;
}

const identifier = /^[A-Za-z][\w.-]*$/;
const sensitivity = String.raw`s\d+(?::c\d+(?:[.,]c\d+)*)?`;
const levelPattern = new RegExp(`^${sensitivity}(?:-${sensitivity})?$`);

/**
 * Takes a context apart. Whether the policy knows its parts, only the kernel can say.
 *
 * @throws SpecError when it cannot be one
 *
 * @example
 * ```ts
 * parseSelinuxContext('system_u:system_r:container_t:s0:c1,c2').level; // 's0:c1,c2'
 * ```
 */
export function parseSelinuxContext(text: unknown, field = 'selinux'): SelinuxContext {
  const expected = 'a context user:role:type[:level]';
  if (typeof text !== 'string' || text.length > 4096) throw new SpecError(field, expected, text);
  const [user = '', role = '', type = '', ...rest] = text.split(':');
  const level = rest.length > 0 ? rest.join(':') : undefined;
  if (![user, role, type].every((part) => identifier.test(part))) throw new SpecError(field, expected, text);
  if (level !== undefined) checkLevel(level, field);
  return { user, role, type, level };
}

/**
 * The text of a context.
 *
 * @throws SpecError for what cannot be one
 *
 * @example
 * ```ts
 * formatSelinuxContext({ user: 'system_u', role: 'object_r', type: 'container_file_t', level: 's0' });
 * ```
 */
export function formatSelinuxContext(context: SelinuxContext): string {
  onlyKnownKeys(context, ['user', 'role', 'type', 'level'], '');
  const { user, role, type, level } = context;
  for (const [field, part] of Object.entries({ user, role, type }))
    if (typeof part !== 'string' || !identifier.test(part)) throw new SpecError(field, 'a name of the policy', part);
  if (level !== undefined) checkLevel(level, 'level');
  return [user, role, type, ...(level === undefined ? [] : [level])].join(':');
}

/**
 * A level for one container: two categories that no other container has keep it apart from containers of the same type
 * (multi-category security).
 *
 * @param first - 0 to 1023
 * @param second - another one
 * @throws SpecError when they are the same or out of range
 *
 * @example
 * ```ts
 * categoryPairLevel(345, 12); // 's0:c12,c345'
 * ```
 */
export function categoryPairLevel(first: number, second: number): string {
  for (const [field, category] of [
    ['first', first],
    ['second', second],
  ] as const) {
    if (!Number.isInteger(category) || category < 0 || category > 1023) {
      throw new SpecError(field, 'a category from 0 to 1023', category);
    }
  }
  if (first === second) throw new SpecError('second', `a category other than ${first}`, second);
  const [low, high] = first < second ? [first, second] : [second, first];
  return `s0:c${low},c${high}`;
}

/** Labels of one container. */
export interface ContainerLabels {
  /** For its processes. */
  readonly process: string;
  /** For its files. */
  readonly mount: string;
}

/**
 * The pair of labels that container policies (container-selinux) expect.
 *
 * @param options.level - usually of {@link categoryPairLevel}
 * @param options.processType - default `container_t`; `container_init_t` where systemd runs inside
 * @param options.fileType - default `container_file_t`; `container_ro_file_t` for what is only read
 * @throws SpecError when a part cannot be one
 *
 * @example
 * ```ts
 * const { process, mount } = containerLabels({ level: categoryPairLevel(12, 345) });
 * ```
 */
export function containerLabels(options: {
  readonly level: string;
  readonly processType?: string;
  readonly fileType?: string;
}): ContainerLabels {
  onlyKnownKeys(options, ['level', 'processType', 'fileType'], '');
  const { level, processType = 'container_t', fileType = 'container_file_t' } = options;
  checkLevel(level, 'level');
  for (const [field, type] of Object.entries({ processType, fileType })) {
    if (!identifier.test(type)) throw new SpecError(field, 'the name of a type', type);
  }
  return {
    process: formatSelinuxContext({ user: 'system_u', role: 'system_r', type: processType, level }),
    mount: formatSelinuxContext({ user: 'system_u', role: 'object_r', type: fileType, level }),
  };
}

function checkLevel(level: unknown, field: string): void {
  if (typeof level !== 'string' || !levelPattern.test(level))
    throw new SpecError(field, "a level such as 's0:c1,c2'", level);
}
