import * as v from 'valibot';
import { type SchemaNode, type SpecIssue, toSpecError } from './spec-issue.ts';
import { withoutUndefined } from './without-undefined.ts';

/**
 * What a schema makes of an input.
 *
 * @throws SpecError naming the field; for an unknown key also the nearest one that exists
 */
export function checkInput(schema: v.GenericSchema, input: unknown): unknown {
  const given = typeof input === 'object' && input !== null ? withoutUndefined(input) : input;
  const result = v.safeParse(schema, given, { abortEarly: true });
  if (result.success) return result.output;
  throw toSpecError(result.issues[0] as SpecIssue, schema as SchemaNode);
}
