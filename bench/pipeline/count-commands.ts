import { Redis } from "ioredis";

/**
 * Counts the commands that this process sends to Redis from now on, over every connection. Each command of a pipeline
 * counts; a script counts as one.
 */
export function countRedisCommands(): () => number {
  let sent = 0;
  const { prototype } = Redis;
  const send = Object.getOwnPropertyDescriptor(prototype, "sendCommand")?.value as Redis["sendCommand"];
  prototype.sendCommand = function (this: Redis, ...args) {
    sent++;
    return send.apply(this, args);
  };
  return () => sent;
}
