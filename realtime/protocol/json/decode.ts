import { commandId, isMethod, METHODS, type Command } from "../commands.ts";

/** The commands of a message, one on each line; null when the message is not of the protocol. */
export function decodeCommands(text: string): Command[] | null {
  const commands: Command[] = [];
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const command = decodeLine(line);
    if (!command) return null;
    commands.push(command);
  }
  return commands.length === 0 ? null : commands;
}

function decodeLine(line: string): Command | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const keys = Object.keys(value);
  if (keys.length === 0) return { method: "pong" };
  if ("send" in value && !("id" in value)) return { method: "send" };
  const [method, ...others] = keys.filter(isMethod);
  const id = commandId.safeParse("id" in value ? value.id : null);
  if (!method || others.length > 0 || !id.success) return null;
  const request = METHODS[method].safeParse(Reflect.get(value, method));
  // The method selects its own schema; the compiler cannot follow that through the table.
  return request.success ? ({ id: id.data, method, request: request.data } as Command) : null;
}
