import type { AgentAccess } from './agent-access.ts';

/**
 * Whether somebody of a chat may decide an approval, as `access.approvers` says now. `by` and
 * `requester` are `<gateway>:<id>`; whoever is nobody's id matches nothing.
 */
export function mayApprove(
  access: Pick<AgentAccess, 'owners' | 'approvers'>,
  { by, requester }: { by: string; requester: string | undefined },
): boolean {
  if (!/^[^:]+:./.test(by)) return false;
  return access.approvers.some((who) =>
    who === 'owner' ? access.owners.includes(by) : by === requester,
  );
}
