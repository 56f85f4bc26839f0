import type { Statement } from "../connection/pipelined-transaction.ts";

/**
 * Notes the events of our own reactions, of messages that are settled: a redaction of one on Matrix is recognised by it. Other
 * messages are left out.
 */
export function noteReactions(messageIds: readonly string[]): Statement {
  return { sql: NOTE_REACTIONS, bindings: { messageIds: [...messageIds] } };
}

const NOTE_REACTIONS = `
  insert into reaction_events (room_id, event_id, message_id, key, person)
  select room_id, event_id, target_id, content ->> 'key', sender_id from messages
   where id = any(:messageIds) and target_id is not null and content ->> 'kind' = 'reaction' and event_id is not null
      on conflict do nothing`;
