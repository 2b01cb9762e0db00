import { userInfo } from 'node:os';
import { sanitizeLine } from './sanitize.ts';

/** The name under which this person's messages are shown to others. */
export function myName(): string {
  try {
    return sanitizeLine(userInfo().username).slice(0, 200) || 'someone';
  } catch (error) {
    // A user id without an entry in the system's list of users.
    if ((error as NodeJS.ErrnoException).syscall === 'uv_os_get_passwd') return 'someone';
    throw error;
  }
}
