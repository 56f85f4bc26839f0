import type { ContentOf } from "../../../shared/contract/content/index.ts";
import { NO_MENTIONS, type Mentions } from "../../../shared/contract/content/message.ts";
import { nameMentions } from "../../../shared/markup/mentions.ts";
import { EventType, RelationType, type MsgType } from "../names.ts";
import { readRelation, type MatrixEvent } from "../event.ts";
import type { MatrixContent, SentWith } from "./define.ts";
import { fitEvent } from "./fit.ts";
import { htmlToMatrix } from "./html.ts";
import { readBody } from "./read/body.ts";
import { readRelations } from "./read/relations.ts";

type Kind = "text" | "notice" | "emote";

/** One of the kinds that are texts, which differ in their `msgtype`. */
export function messageOnMatrix<K extends Kind>(kind: K, msgtype: MsgType): MatrixContent<ContentOf<K>> {
  const isOfKind = (event: MatrixEvent) =>
    event.type === EventType.RoomMessage &&
    event.content["msgtype"] === msgtype &&
    readRelation(event)?.type !== RelationType.Replace;
  return {
    isOfKind,
    eventTypes: [EventType.RoomMessage],
    toMatrix: (content, given) => {
      const people = mentionedIn(content.mentions, given.people);
      return fitEvent(content, people, ({ text, html = null, mentions = NO_MENTIONS }, named) => {
        const formatted = html === null ? null : htmlToMatrix(html, named);
        const written = {
          ...{ msgtype, body: nameMentions(text, namesOf(named)) },
          ...(formatted === null ? {} : { format: "org.matrix.custom.html", formatted_body: formatted }),
          "m.mentions": mentionsOnMatrix(mentions, named),
          ...relationOnMatrix(given),
        };
        return { type: EventType.RoomMessage, content: written };
      });
    },
    fromMatrix: (event, people) => {
      if (!isOfKind(event)) return null;
      const relations = readRelations(event);
      const body = readBody(event, { isReply: relations.targetEventId !== null, people });
      return body === null ? null : { content: { kind, ...body } as ContentOf<K>, ...relations };
    },
  };
}

type People = NonNullable<SentWith["people"]>;

function namesOf(people: People): Map<string, string> {
  return new Map([...people].map(([user, { name }]) => [user, name]));
}

/** Of the people who are known, those whom a message mentions. */
export function mentionedIn({ users }: Mentions = NO_MENTIONS, known: People = new Map()): People {
  return new Map(
    users.flatMap((user) => {
      const person = known.get(user);
      return person === undefined ? [] : [[user, person] as const];
    }),
  );
}

/** What `m.mentions` says. */
export function mentionsOnMatrix(
  { users, room }: Mentions,
  people: People,
): { user_ids?: string[]; room?: true } {
  const ids = users.flatMap((user) => people.get(user)?.matrixUserId ?? []);
  return { ...(ids.length === 0 ? {} : { user_ids: ids }), ...(room ? { room: true } : {}) };
}

/** A reply quotes nothing: clients look up what it answers. */
function relationOnMatrix({ targetEventId, threadEventId = null }: SentWith): { "m.relates_to"?: object } {
  if (targetEventId === null) return {};
  const reply = { "m.in_reply_to": { event_id: targetEventId } };
  const thread = { rel_type: "m.thread", event_id: threadEventId, is_falling_back: false };
  return { "m.relates_to": threadEventId === null ? reply : { ...thread, ...reply } };
}
