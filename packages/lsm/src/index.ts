export { LandlockRuleset } from './landlock/ruleset.ts';
