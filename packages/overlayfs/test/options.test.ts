import { applyChanges, applyLayer, copyTree, diffLayer, diffTrees, mountOverlay } from '@ns/overlayfs';

// A misspelt restriction must not be silently none.
test.each<[string, () => unknown, string]>([
  ['mountOverlay', () => mountOverlay({ lower: ['/'], target: '/', uper: '/x' } as never), 'upper'],
  ['diffLayer', () => diffLayer('/', '/', { whiteout: 'oci' } as never), 'whiteouts'],
  ['diffTrees', () => diffTrees('/', '/', { comparing: 'times' } as never), 'compare'],
  ['applyLayer', () => applyLayer([], '/', { maxByte: 1 } as never), 'maxBytes'],
  ['applyChanges', () => applyChanges('/', '/', { selekt: () => false } as never), 'select'],
  ['copyTree', () => copyTree('/', '/', '/', '/', { makeParent: true } as never), 'makeParents'],
])('%s refuses an option it does not know, and names the nearest', async (_name, call, nearest) => {
  await expect((async () => call())()).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    hint: expect.stringContaining(nearest),
  });
});
