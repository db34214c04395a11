/** The results of a plan as Markdown: a row for each package on each kind of machine, what failed, and why some were skipped. */
export function renderResults(plan, results) {
  const found = plan.flatMap(({ kind, package: name, files }) =>
    files.map((file) => ({ kind, name, file, result: results.of(kind, file) })),
  );
  const rows = groups(found).map(({ kind, name, all }) => {
    const ran = all.flatMap(({ result }) => result ?? []);
    const sum = (count) => ran.reduce((total, result) => total + count(result), 0);
    return [
      kind,
      name,
      `${ran.length} of ${all.length}`,
      sum(({ passed }) => passed),
      sum(({ failed }) => failed),
      sum(({ skipped }) => skipped.length),
      Math.ceil(sum(({ seconds }) => seconds) / 60),
      [...new Set(ran.map(({ commit }) => commit))].join(', '),
    ];
  });
  const ran = found.filter(({ result }) => result);
  return [
    '| machine | package | files run | passed | failed | skipped | minutes | commit |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
    ...list(
      'Failed',
      ran.flatMap(({ kind, file, result }) => result.failures.map((test) => `${kind}, ${file}: ${test}`)),
    ),
    ...list('Why tests were skipped', reasons(ran)),
  ].join('\n');
}

function groups(found) {
  const byKey = new Map();
  for (const one of found) {
    const key = `${one.kind} ${one.name}`;
    const group = byKey.get(key) ?? { kind: one.kind, name: one.name, all: [] };
    group.all.push(one);
    byKey.set(key, group);
  }
  return [...byKey.values()];
}

/** Each reason once for each kind of machine, with how many tests it is of. */
function reasons(ran) {
  const counts = new Map();
  for (const { kind, result } of ran)
    for (const reason of result.skipped) counts.set(`${kind}: ${reason}`, (counts.get(`${kind}: ${reason}`) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${reason} (${count})`);
}

function list(title, items) {
  return items.length > 0 ? [`## ${title}`, '', ...items.map((item) => `- ${item}`), ''] : [];
}
