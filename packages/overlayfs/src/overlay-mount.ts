import { OwnedFd } from '@ns/libc';
import { unmount } from '@ns/mounts';

/** A mounted overlay. `using` unmounts it at the end of the block; `close()` lets go of the descriptor and leaves it mounted. */
export class OverlayMount extends OwnedFd {
  /**
   * umount2(2) with MNT_DETACH: out of sight at once, with whatever is mounted below, and gone when nobody uses it any more.
   * Idempotent.
   *
   * @returns false when it was not mounted any more
   */
  unmount(): boolean {
    if (this.closed) return false;
    try {
      return unmount(this, 'detach');
    } finally {
      this.close();
    }
  }

  override [Symbol.dispose](): void {
    this.unmount();
  }
}
