/** Names of keys that a terminal is sent, as tmux knows them. */
const named = [
  'Enter',
  'Escape',
  'Tab',
  'BTab',
  'Space',
  'BSpace',
  'Up',
  'Down',
  'Left',
  'Right',
  'Home',
  'End',
  'PageUp',
  'PageDown',
  'IC',
  'DC',
];

/** Whether a text names a key: one of the list, F1 to F12, or C-a to C-z, M-a to M-z and the like. */
export function isKey(text: string): boolean {
  return named.includes(text) || /^F([1-9]|1[0-2])$/.test(text) || /^[CM]-[a-z]$/.test(text);
}

/** How the names of keys are told to models. */
export const KEY_NAMES = `${named.join(', ')}, F1 to F12, C-a to C-z (with Ctrl), M-a to M-z (with Alt)`;
