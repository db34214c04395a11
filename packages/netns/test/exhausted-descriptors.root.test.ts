import { leaveDescriptors, needs, notRoot } from '@ns/testing';
import { applyRuleset } from '../src/firewall/run-nft.ts';

const rootTest = needs(notRoot);

// Of a child process that gets no streams Node emits an error that nobody can listen to: the end of this process.
rootTest('rules are changed without any descriptor left', async () => {
  await applyRuleset('', 'nothing');
  using _limit = leaveDescriptors(0);
  await applyRuleset('', 'nothing');
});
