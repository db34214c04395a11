import { S, type Stat } from '@ns/libc';

/** What kind of file a path is. */
export type FileType = 'file' | 'directory' | 'symlink' | 'character-device' | 'block-device' | 'fifo' | 'socket';

const types: Readonly<Record<number, FileType>> = {
  [S.IFREG]: 'file',
  [S.IFDIR]: 'directory',
  [S.IFLNK]: 'symlink',
  [S.IFCHR]: 'character-device',
  [S.IFBLK]: 'block-device',
  [S.IFIFO]: 'fifo',
  [S.IFSOCK]: 'socket',
};

/** The type in a `st_mode`. */
export function fileType(mode: number): FileType {
  return types[mode & S.IFMT] ?? 'file';
}

export const isDirectory = (stat: Stat): boolean => (stat.mode & S.IFMT) === S.IFDIR;
export const isRegular = (stat: Stat): boolean => (stat.mode & S.IFMT) === S.IFREG;
export const isSymlink = (stat: Stat): boolean => (stat.mode & S.IFMT) === S.IFLNK;
export const isSocket = (stat: Stat): boolean => (stat.mode & S.IFMT) === S.IFSOCK;
export const isDevice = (stat: Stat): boolean => (stat.mode & S.IFMT) === S.IFCHR || (stat.mode & S.IFMT) === S.IFBLK;

/** Permission bits with setuid, setgid and sticky. */
export const permissions = (stat: Stat): number => stat.mode & 0o7777;

/** Identifies a file on this machine: equal for two names of one file. */
export const inodeKey = (stat: Stat): string => `${stat.devMajor}:${stat.devMinor}:${stat.ino}`;
