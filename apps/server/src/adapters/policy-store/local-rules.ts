import { isAlias, isMap, isSeq, parseDocument, type Document } from 'yaml';

const HEADING = ` What people chose to allow always. Remove a line to be asked again.`;

/**
 * Adds a rule to the list `allow` of a policy that loads; its comments and its order stay.
 * @returns null where the list is written so that a line cannot be added.
 */
export function addRule(text: string, rule: string): string | null {
  const document: Document = parseDocument(text, { schema: 'core', uniqueKeys: false });
  if (document.errors.length > 0) return null;
  if (!isMap(document.contents)) {
    // A file of comments only, or none.
    if (document.contents !== null && document.toJS() !== null) return null;
    document.contents = document.createNode({});
    if (document.comment === null) document.commentBefore ??= HEADING;
  }
  const current = document.get('allow', true);
  if (isAlias(current)) return null;
  if (!isSeq(current)) document.set('allow', document.createNode([]));
  const list = document.get('allow', true);
  if (!isSeq(list)) return null;
  if (list.items.length === 0) list.flow = false;
  list.add(document.createNode(rule));
  return document.toString({ lineWidth: 0 });
}
