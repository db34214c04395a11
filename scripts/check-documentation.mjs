// What readers rely on: every export of a package has a doc comment, every error code it makes stands in its README, links
// of documents lead somewhere, and the code they copy compiles. That is ```ts
// blocks of every README.md and of doc comments. Each block is a module of its own beside the file it stands in, kept in
// memory, with blank lines before it so that errors name the real line.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const { options } = ts.parseJsonConfigFileContent(
  ts.readConfigFile(join(root, 'tsconfig.test.json'), ts.sys.readFile).config,
  ts.sys,
  root,
);
const directories = [
  root,
  ...readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name)),
  join(root, 'examples'),
  join(root, 'bench'),
];

/** What examples speak of without making it. */
const atHand = { pid: 'number', child: '{ readonly pid: number }' };

/** Virtual file name -> { text, origin }. */
const blocks = new Map();
const host = ts.createCompilerHost(options);
const { fileExists, readFile } = host;
host.fileExists = (path) => blocks.has(path) || fileExists(path);
host.readFile = (path) => blocks.get(path)?.text ?? readFile(path);

const indexes = directories.map((directory) => join(directory, 'src/index.ts')).filter((path) => existsSync(path));
const sources = ts.createProgram(indexes, options, host);
for (const guide of readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')))
  collect(join(root, 'docs', guide), root, (text) => fences(text));
for (const directory of directories) {
  collect(join(directory, 'README.md'), directory, (text) => fences(text));
  if (directory === root) continue;
  const names = exportedNames(join(directory, 'src/index.ts'));
  for (const file of sourcesIn(join(directory, 'src'))) {
    collect(file, directory, (text) =>
      examples(text).map((block) => ({ ...block, prelude: importsFor(block.code, directory, names) })),
    );
  }
}

const program = ts.createProgram([...blocks.keys()], options, host, sources);
const wrongBlocks = [...blocks].flatMap(([path, { origin }]) =>
  ts.getPreEmitDiagnostics(program, program.getSourceFile(path)).map((diagnostic) => {
    const { line } = diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start);
    return `${relative(root, origin)}:${line + 1}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n  ')}`;
  }),
);
const problems = [
  ...indexes.flatMap(undocumentedExports),
  ...directories.flatMap(untoldCodes),
  ...documents().flatMap(deadLinks),
  ...wrongBlocks,
];
console.log(problems.join('\n'));
process.exitCode = problems.length > 0 ? 1 : 0;

/** Adds the blocks of one file. */
function collect(origin, directory, extract) {
  if (!existsSync(origin)) return;
  for (const { code, line, prelude = '' } of extract(readFileSync(origin, 'utf8'))) {
    const text = `export {}; ${prelude}${'\n'.repeat(line)}${code}`;
    blocks.set(join(directory, `documentation-block-${blocks.size}.ts`), { text, origin });
  }
}

/** ```ts blocks of Markdown, with the number of lines above their code. */
function fences(markdown) {
  const found = [];
  let open;
  for (const [index, line] of markdown.split('\n').entries()) {
    if (open && line.trim() === '```') {
      found.push({ code: open.lines.join('\n'), line: open.line });
      open = undefined;
    } else if (open) open.lines.push(line);
    else if (line.trim() === '```ts') open = { line: index + 1, lines: [] };
  }
  return found;
}

/** ```ts blocks of the doc comments of a source file. */
function examples(source) {
  const onlyComments = source.split('\n').map((line) => /^\s*\*(?!\/) ?(.*)$/.exec(line)?.[1] ?? '');
  return fences(onlyComments.join('\n'));
}

/**
 * An example in a doc comment speaks of its own package: names that it uses and does not import are imported, and what
 * everybody has at hand is declared.
 */
function importsFor(code, directory, names) {
  const imported = code.match(/^\s*import\b[^;]*;/gm)?.join('') ?? '';
  const used = names.filter((name) => mentions(code, name) && !mentions(imported, name));
  const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const declared = Object.entries(atHand)
    .filter(([variable]) => mentions(code, variable) && !mentions(imported, variable))
    .filter(([variable]) => !new RegExp(`\\b(const|let|using) ${variable}\\b`).test(code))
    .map(([variable, type]) => `declare const ${variable}: ${type}; `);
  return `${used.length > 0 ? `import { ${used.join(', ')} } from '${name}'; ` : ''}${declared.join('')}`;
}

function mentions(code, name) {
  return new RegExp(`\\b${name}\\b`).test(code);
}

function exportedNames(index) {
  return exportsOf(index).map(({ name }) => name);
}

/** Exports without a doc comment. Constants are documented by the header they are grouped under, modules by their exports. */
function undocumentedExports(index) {
  const checker = sources.getTypeChecker();
  return exportsOf(index)
    .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol))
    .filter(
      (symbol) =>
        !(symbol.flags & (ts.SymbolFlags.Variable | ts.SymbolFlags.Module)) &&
        symbol.getDocumentationComment(checker).length === 0,
    )
    .map((symbol) => {
      const [declaration] = symbol.declarations;
      const file = declaration.getSourceFile();
      const { line } = file.getLineAndCharacterOfPosition(declaration.getStart());
      return `${relative(root, file.fileName)}:${line + 1}: ${symbol.name} is exported without a doc comment`;
    });
}

/** Codes that a package makes and its README does not name. */
function untoldCodes(directory) {
  if (!existsSync(join(directory, 'README.md'))) return [];
  const told = readFileSync(join(directory, 'README.md'), 'utf8');
  const made = sourcesIn(join(directory, 'src')).flatMap(
    (file) => readFileSync(file, 'utf8').match(/(?<=(?:new \w+|super|refuse)\(\s*')ERR_NS_\w+(?=')/g) ?? [],
  );
  return [...new Set(made)]
    .filter((code) => !mentions(told, code))
    .map((code) => `${relative(root, directory)}/README.md: ${code} is not in it`);
}

function documents() {
  const guides = readdirSync(join(root, 'docs'), { withFileTypes: true }).filter((entry) => entry.isFile());
  return [
    ...guides.map(({ name }) => join(root, 'docs', name)),
    ...directories.map((directory) => join(directory, 'README.md')),
    join(root, 'CHANGELOG.md'),
  ].filter((file) => file.endsWith('.md') && existsSync(file));
}

/** Relative links to files that are not there, or to headings that are not in them. */
function deadLinks(file) {
  const text = readFileSync(file, 'utf8').replace(/```.*?```/gs, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [path, heading] = link.split('#');
      const target = path ? join(dirname(file), path) : file;
      if (!existsSync(target)) return true;
      return heading !== undefined && !headingsOf(readFileSync(target, 'utf8')).includes(heading);
    })
    .map((link) => `${relative(root, file)}: leads nowhere: ${link}`);
}

/** As GitHub makes anchors of them. */
function headingsOf(markdown) {
  return markdown
    .replace(/```.*?```/gs, '')
    .match(/^#+ .*$/gm)
    .map((line) =>
      line
        .replace(/^#+ /, '')
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    );
}

function exportsOf(index) {
  const checker = sources.getTypeChecker();
  const symbol = checker.getSymbolAtLocation(sources.getSourceFile(index));
  return symbol ? checker.getExportsOfModule(symbol) : [];
}

function sourcesIn(directory) {
  return existsSync(directory)
    ? readdirSync(directory, { recursive: true })
        .filter((name) => name.endsWith('.ts'))
        .map((name) => join(directory, name))
    : [];
}
