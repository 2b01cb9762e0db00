import type { AccessBook } from '../core/pairing.ts';

export type { AccessBook, Pairing, PairingRequest } from '../core/pairing.ts';

/** Keeps what people decided about who may speak, as a file that they may edit: `<data_dir>/access.yaml`. */
export interface AccessStore {
  /** The newest content; a file edited by hand is read anew. @throws DuragentError `config_invalid` with the place of the fault. */
  read(): Promise<AccessBook>;
  /** Replaces it, durably and as a whole, by what `change` makes of the newest; changes run one after another. @returns it. */
  update(change: (book: AccessBook) => AccessBook): Promise<AccessBook>;
}
