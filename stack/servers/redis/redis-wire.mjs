import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";

/**
 * Sends commands to a Redis and returns the reply to each: a text, null, a list, or an Error.
 * @param {string} url redis:// or rediss://
 * @param {string[][]} commands
 * @param {{limitMs?: number}} [options]
 * @returns {Promise<unknown[]>}
 */
export function askRedis(url, commands, { limitMs = 2_000 } = {}) {
  const { protocol, hostname, port, username, password } = new URL(url);
  const target = { host: hostname, port: Number(port || 6_379) };
  const secret = password
    ? [["AUTH", ...(username ? [decodeURIComponent(username)] : []), decodeURIComponent(password)]]
    : [];
  const all = [...secret, ...commands];
  return new Promise((resolve, reject) => {
    const socket =
      protocol === "rediss:" ? connectTls({ ...target, servername: hostname }) : connectTcp(target);
    let received = "";
    const fail = (/** @type {Error} */ error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(limitMs, () => fail(new Error(`no answer within ${limitMs} ms`)));
    socket.once("error", fail);
    socket.once("close", () => reject(new Error("the connection was closed")));
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      const replies = parseReplies(received, all.length);
      if (replies === undefined) return;
      resolve(replies.slice(secret.length));
      socket.destroy();
    });
    socket.write(all.map(encodeCommand).join(""));
  });
}

/** @param {string[]} words */
function encodeCommand(words) {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
}

/**
 * Reads a number of replies; undefined while the text is incomplete.
 * @param {string} text
 * @param {number} count
 */
export function parseReplies(text, count) {
  let at = 0;
  /** @returns {unknown} undefined while the text is not whole */
  const parseOne = () => {
    const end = text.indexOf("\r\n", at);
    if (end === -1) return undefined;
    const [kind, rest] = [text[at], text.slice(at + 1, end)];
    at = end + 2;
    if (kind === "-") return new Error(rest);
    if (kind === "+" || kind === ":") return rest;
    const length = Number(rest);
    if (length === -1) return null;
    if (kind === "*") return parseMany(length);
    if (text.length < at + length + 2) return undefined;
    at += length + 2;
    return text.slice(at - length - 2, at - 2);
  };
  /** @param {number} length */
  const parseMany = (length) => {
    const values = [];
    while (values.length < length) {
      const value = parseOne();
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  };
  return parseMany(count);
}
