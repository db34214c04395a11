import { SpecError } from '@ns/libc';
import { isPlainObject } from './field-schemas.ts';

/** What a caller wants to run: `(command, args, options)` or `(argv, options)`. */
export interface Call<Options> {
  readonly argv: readonly string[];
  readonly options: Options;
}

/**
 * Tells the forms of a call apart. The words of the command are checked with the options.
 *
 * @throws SpecError `ERR_NS_INVALID_SPEC`: no array of arguments, no object of options, or a second command among them
 */
export function readCall<Options extends object>(
  command: string | readonly string[],
  second: readonly string[] | Options,
  third: Options,
): Call<Options> {
  const words = ([] as string[]).concat(command as string);
  if (!Array.isArray(second) && !isPlainObject(second)) throw new SpecError('args', 'an array of strings', second);
  const [args, options] = Array.isArray(second) ? [second as string[], third] : [[], second as Options];
  if (!isPlainObject(options)) throw new SpecError('options', 'an object', options);
  if ('command' in options && options.command !== undefined)
    throw new SpecError('command', 'nothing among the options', options.command, 'It stands before them');
  return { argv: [...words, ...args], options };
}
