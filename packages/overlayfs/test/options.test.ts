import {
  applyChanges,
  applyLayer,
  BtrfsDriver,
  copyTree,
  diffLayer,
  diffTrees,
  FuseOverlayfsDriver,
  LayerStore,
  mountOverlay,
  OverlayDriver,
  VfsDriver,
  VolumeStore,
} from '@ns/overlayfs';

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

// It would be whatever directory the process is in.
test.each([LayerStore, VolumeStore, OverlayDriver, VfsDriver, BtrfsDriver, FuseOverlayfsDriver])(
  '%p is not kept in a directory without a name',
  (Store) => {
    for (const dir of ['', undefined as never])
      expect(() => new Store(dir)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }));
  },
);
