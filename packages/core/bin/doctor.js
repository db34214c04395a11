#!/usr/bin/env node
// Not in dist/: npm links a command when it installs the package, in a checkout before anything is built.
await import('../dist/bin/doctor.js');
