/** The server, which is a part of this program: imported when it is needed, and only here. */
export async function importServer(): Promise<typeof import('@duragent/server')> {
  return await import('@duragent/server');
}
