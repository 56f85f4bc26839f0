import type { MatrixClient } from "./matrix-client.ts";

/** What a plain Matrix client did. `text`: that of the message when it was written, also for an act on it. */
export type FromMatrix = { type: string; text: string; key?: string };

const WRITTEN = "Hello from a plain Matrix client!!";
const CORRECTED = "Hello from a plain Matrix client";
const MISTAKE = "This is a mistake";

/**
 * Somebody writes, corrects it, reacts to a message of ours, and takes a message back, with a plain Matrix client. `isReceived` waits until
 * every socket of the room has received it. Returns what each is to receive once.
 */
export async function actFromMatrix(
  client: MatrixClient,
  { roomName, ourText }: { roomName: string; ourText: string },
  isReceived: (done: FromMatrix) => Promise<unknown>,
): Promise<FromMatrix[]> {
  const all: FromMatrix[] = [];
  const perform = async <T>(done: FromMatrix, work: () => Promise<T>): Promise<T> => {
    const result = await work();
    all.push(done);
    await isReceived(done);
    return result;
  };
  const post = (text: string) =>
    perform({ type: "message.created", text }, () => client.post(roomName, text));
  const first = await post(WRITTEN);
  await perform({ type: "message.edited", text: WRITTEN }, () => client.edit(roomName, first, CORRECTED));
  const ours = await client.find(roomName, ourText);
  await perform({ type: "reaction.added", text: ourText, key: "🎉" }, () =>
    client.react(roomName, ours, "🎉"),
  );
  const mistake = await post(MISTAKE);
  await perform({ type: "message.deleted", text: MISTAKE }, () =>
    client.redact(roomName, mistake, "a mistake"),
  );
  return all;
}
