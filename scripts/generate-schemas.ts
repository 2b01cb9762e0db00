import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  agentListSchema,
  agentViewSchema,
  answerSchema,
  createSessionSchema,
  gatewayCommandSchema,
  gatewayEventSchema,
  messageAcceptedSchema,
  postMessageSchema,
  problemSchema,
  serverFileSchema,
  sessionEventSchema,
  sessionViewSchema,
  streamMessageSchema,
} from '@duragent/protocol';

// Writes the JSON Schemas of the protocol from its zod schemas, and removes what is none of them.

/** What is published, by the name of its file. */
const schemas = {
  'agent-list': agentListSchema,
  'agent-view': agentViewSchema,
  answer: answerSchema,
  'create-session': createSessionSchema,
  'gateway-command': gatewayCommandSchema,
  'gateway-event': gatewayEventSchema,
  'message-accepted': messageAcceptedSchema,
  'post-message': postMessageSchema,
  problem: problemSchema,
  'server-file': serverFileSchema,
  'session-event': sessionEventSchema,
  'session-view': sessionViewSchema,
  'stream-message': streamMessageSchema,
};

/** The folder that the schemas are kept in. */
export const schemaFolder = path.join(import.meta.dirname, '../protocol/schema');

/** The content of every file in the folder, by its name. The same sources give the same bytes. */
export function generateSchemas(): Record<string, string> {
  const files = Object.entries(schemas).map(([name, schema]) => {
    const { $schema, ...rest } = schema.toJSONSchema({ io: 'input' });
    const document = { $schema, title: name, ...rest };
    return [`${name}.json`, `${JSON.stringify(document, null, 2)}\n`] as const;
  });
  return Object.fromEntries(files);
}

if (import.meta.main) {
  const files = generateSchemas();
  mkdirSync(schemaFolder, { recursive: true });
  for (const name of readdirSync(schemaFolder)) {
    if (!Object.hasOwn(files, name)) rmSync(path.join(schemaFolder, name));
  }
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(path.join(schemaFolder, name), text);
  }
  console.log(`${Object.keys(files).length} schemas in ${path.relative('.', schemaFolder)}`);
}
