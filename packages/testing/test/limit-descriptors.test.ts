import { closeSync, openSync } from 'node:fs';
import { limitDescriptors } from '../src/index.ts';

const openAndClose = () => closeSync(openSync('/dev/null', 'r'));

test('no descriptor can be opened while it stands, and as before after it', () => {
  {
    using _limit = limitDescriptors(3);
    expect(openAndClose).toThrow('EMFILE');
  }
  openAndClose();
});

test('a limit above the hard one is refused, and changes nothing', () => {
  expect(() => limitDescriptors(Number.MAX_SAFE_INTEGER)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  openAndClose();
});
