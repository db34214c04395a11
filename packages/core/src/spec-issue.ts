import { nearest, SpecError } from '@ns/libc';
import { isPlainObject } from './field-schemas.ts';

/** What valibot says is wrong. */
export interface SpecIssue {
  readonly type: string;
  readonly message: string;
  readonly expected: string | null;
  readonly input: unknown;
  /** For a union: what is wrong with each alternative. */
  readonly issues?: readonly SpecIssue[];
  readonly path?: readonly { readonly key: unknown; readonly input: unknown }[];
}

/** The parts of a valibot schema that lead from a path to the keys that may stand there. */
export interface SchemaNode {
  readonly message?: unknown;
  /** Of an object. */
  readonly entries?: Readonly<Record<string, unknown>>;
  /** Of an optional value. */
  readonly wrapped?: unknown;
  /** Of an array. */
  readonly item?: unknown;
  /** Of a schema with further checks: it, and they. */
  readonly pipe?: readonly unknown[];
  /** Of a schema that has itself in it. */
  readonly getter?: unknown;
  /** Of a literal. */
  readonly literal?: unknown;
  /** Of a union; of a picklist they are its values. */
  readonly options?: readonly unknown[];
}

/** Keys of objects, and indices of arrays as numbers. */
type FieldPath = readonly (string | number)[];

/** A path as it is written in TypeScript: `mounts[0].target`. */
function fieldAt(path: FieldPath): string {
  return path.map((key, depth) => (typeof key === 'number' ? `[${key}]` : depth === 0 ? key : `.${key}`)).join('');
}

/** Says in our words what is wrong: the field, what it may be, and for an unknown key the nearest one that exists. */
export function toSpecError(issue: SpecIssue, schema: SchemaNode): SpecError {
  const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)));
  const field = fieldAt(path) || 'spec';
  const object = issue.path?.at(-1)?.input;
  if (issue.expected === 'never') return unknownKey(path, schema, object);
  // A misspelt key is why another one is missing, or why no alternative fits.
  const isUnion = issue.type === 'union';
  const [among, place] = isUnion ? [issue.input, path] : [object, path.slice(0, -1)];
  const misspelt = (isUnion || issue.type === 'strict_object') && findUnknownKey(among, place, schema);
  if (misspelt) return unknownKey(misspelt, schema, among);
  if (issue.type === 'union') {
    const inner = nearestAlternative(issue.issues ?? []);
    if (inner) return toSpecError({ ...inner, path: [...(issue.path ?? []), ...inner.path!] }, schema);
  }
  // A key that is missing: what its value would have to be, its own schema knows.
  if (issue.type === 'strict_object') {
    const missing = issue.input === undefined ? issue.path?.at(-1) : undefined;
    return new SpecError(field, (missing && wantedAt(path, schema, missing.input)) || 'an object', issue.input);
  }
  return new SpecError(field, issue.message, issue.input);
}

/** Path of the first key of an object that nothing allows there. */
function findUnknownKey(object: unknown, path: FieldPath, schema: SchemaNode): (string | number)[] | undefined {
  const known = keysAt(path, schema, object);
  if (!isPlainObject(object) || known.length === 0) return undefined;
  const unknown = Object.keys(object).find((key) => !known.includes(key));
  return unknown === undefined ? undefined : [...path, unknown];
}

function unknownKey(path: FieldPath, schema: SchemaNode, object: unknown): SpecError {
  const known = keysAt(path.slice(0, -1), schema, object);
  const key = String(path.at(-1));
  // Of another alternative than the one that the rest is of.
  const others =
    known.includes(key) && isPlainObject(object) ? Object.keys(object).filter((other) => other !== key) : [];
  if (others.length > 0)
    return new SpecError(fieldAt(path), 'one way to say it', key, `Not together with '${others.join("', '")}'`);
  const meant = suggestion(path, schema, known);
  const hint = meant ? `Did you mean '${meant}'?` : `Known here: ${[...new Set(known)].toSorted().join(', ')}`;
  return new SpecError(fieldAt(path), 'a known option', path.at(-1), hint);
}

/** A key of the same object, or one further down: `memory` is meant for `limits.memory`. */
function suggestion(path: FieldPath, schema: SchemaNode, beside: readonly string[]): string | undefined {
  const key = String(path.at(-1));
  const below = beside.flatMap((parent) =>
    keysAt([...path.slice(0, -1), parent], schema).map((child) => ({ child, path: `${parent}.${child}` })),
  );
  const pathOf = (child: string | undefined) => below.find((place) => place.child === child)?.path;
  return (
    pathOf(key) ??
    nearest(key, beside) ??
    pathOf(
      nearest(
        key,
        below.map(({ child }) => child),
      ),
    )
  );
}

/**
 * The alternative of a union that was meant: one with a wrong value rather than without its key; the deepest of those,
 * and rather one whose discriminating literal fits.
 */
function nearestAlternative(alternatives: readonly SpecIssue[]): SpecIssue | undefined {
  const rank = ({ path, type }: SpecIssue) => 2 * path!.length - (type === 'literal' ? 1 : 0);
  return alternatives
    .filter(({ path, input }) => path && (path.length > 1 || input !== undefined))
    .toSorted((a, b) => rank(b) - rank(a))[0];
}

/** Keys that may stand at a path: of the alternatives that this object is meant to be, or of all where it is none. */
function keysAt(path: FieldPath, schema: SchemaNode, object?: unknown): string[] {
  // Of a recursive schema each alternative says by a literal of its own that it is meant: its keys are no hint elsewhere.
  const nodes = object ? nodesAt(path, schema).flatMap(resolved) : nodesAt(path, schema);
  const meant = nodes.filter(({ entries }) => isMeant(entries, object));
  return (object && meant.length > 0 ? meant : nodes).flatMap(({ entries }) => Object.keys(entries ?? {}));
}

/** What may stand at a path in this object, in words. */
function wantedAt(path: FieldPath, schema: SchemaNode, object: unknown): string | undefined {
  return nodesAt(path.slice(0, -1), schema)
    .filter(({ entries }) => isMeant(entries, object))
    .map(({ entries }) => entries?.[path.at(-1)!])
    .filter(isNode)
    .map(({ message }) => message)
    .find((message) => typeof message === 'string');
}

/** Whether an object has the literals that tell this alternative from the others; an optional one may be missing. */
function isMeant(entries: SchemaNode['entries'] = {}, object: unknown): boolean {
  return Object.entries(entries).every(([key, entry]) => {
    if (!isNode(entry)) return true;
    const value: unknown = Reflect.get(Object(object), key);
    const { literal } = isNode(entry.wrapped) ? entry.wrapped : entry;
    return literal === undefined || value === literal || (value === undefined && entry.wrapped !== undefined);
  });
}

function nodesAt(path: FieldPath, schema: SchemaNode): SchemaNode[] {
  return path.reduce<SchemaNode[]>(
    (nodes, key) =>
      nodes
        .flatMap(resolved)
        .flatMap(({ entries, item }) => [entries?.[key], item].filter(isNode).flatMap(alternativesOf)),
    alternativesOf(schema),
  );
}

/** A schema without its wrappers; a union as its alternatives. */
function alternativesOf(node: SchemaNode): SchemaNode[] {
  if (isNode(node.wrapped)) return alternativesOf(node.wrapped);
  const piped = node.pipe?.find((part) => isNode(part) && (part.entries ?? part.options));
  if (isNode(piped)) return alternativesOf(piped);
  const alternatives = (node.options ?? []).filter(isNode);
  return alternatives.length > 0 ? alternatives.flatMap(alternativesOf) : [node];
}

/** What a recursive schema is. */
function resolved(node: SchemaNode): SchemaNode[] {
  return typeof node.getter === 'function' ? alternativesOf(node.getter()) : [node];
}

function isNode(value: unknown): value is SchemaNode {
  return typeof value === 'object' && value !== null;
}
