// Not a plain import: of a package without side effects a bundler would leave that out.
await import('../../src/bin/doctor.ts');
