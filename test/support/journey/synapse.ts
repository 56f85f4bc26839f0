import { createHmac, randomBytes } from "node:crypto";
import type { TestSynapse } from "../stack-servers.ts";
import { waitUntil } from "../stack-wait.ts";

type Answer = { status: number; body: Record<string, unknown> };

/** Reads and changes the real Synapse without the product. */
export class Synapse {
  readonly url: string;
  readonly serverName: string;
  readonly #asToken: string;
  readonly #registrationSecret: string;

  constructor(server: TestSynapse) {
    this.url = server.url;
    this.serverName = server.serverName;
    this.#asToken = server.asToken;
    this.#registrationSecret = server.registrationSecret;
  }

  /** A call with the Application Service's token for one of its accounts. */
  as(matrixUserId: string, method: string, path: string, body?: unknown): Promise<Answer> {
    const separator = path.includes("?") ? "&" : "?";
    const as = `${separator}user_id=${encodeURIComponent(matrixUserId)}`;
    return this.call(method, `/_matrix/client/v3${path}${as}`, this.#asToken, body);
  }

  async call(method: string, path: string, token: string | null, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** Matrix ids of the rooms that an account is in; none for an account that is not made yet. */
  async joinedRooms(matrixUserId: string): Promise<string[]> {
    const { body } = await this.as(matrixUserId, "GET", "/joined_rooms");
    return (body["joined_rooms"] as string[] | undefined) ?? [];
  }

  /** Matrix ids of the members of a room, as the observer sees it. */
  async joinedMembers(observer: string, matrixRoomId: string): Promise<string[]> {
    const { body } = await this.as(
      observer,
      "GET",
      `/rooms/${encodeURIComponent(matrixRoomId)}/joined_members`,
    );
    return Object.keys((body["joined"] as Record<string, unknown> | undefined) ?? {});
  }

  /** Content of a state event of a room; null when there is none. */
  async state(observer: string, matrixRoomId: string, type: string): Promise<Record<string, unknown> | null> {
    const path = `/rooms/${encodeURIComponent(matrixRoomId)}/state/${encodeURIComponent(type)}/`;
    const { status, body } = await this.as(observer, "GET", path);
    return status === 200 ? body : null;
  }

  /** Texts of a room with their senders, oldest first. */
  async texts(observer: string, matrixRoomId: string): Promise<{ sender: string; body: string }[]> {
    const found: { sender: string; body: string }[] = [];
    let from = "";
    for (;;) {
      const filter = encodeURIComponent(JSON.stringify({ types: ["m.room.message"] }));
      const path = `/rooms/${encodeURIComponent(matrixRoomId)}/messages?dir=f&limit=200&filter=${filter}${from}`;
      const { body } = await this.as(observer, "GET", path);
      for (const event of body["chunk"] as { sender: string; content: { body?: string } }[]) {
        if (event.content.body !== undefined) found.push({ sender: event.sender, body: event.content.body });
      }
      if (typeof body["end"] !== "string") return found;
      from = `&from=${encodeURIComponent(body["end"])}`;
    }
  }

  /** The room of an alias; null when the alias does not exist. */
  async resolve(alias: string): Promise<string | null> {
    const { status, body } = await this.call(
      "GET",
      `/_matrix/client/v3/directory/room/${encodeURIComponent(alias)}`,
      this.#asToken,
    );
    return status === 200 ? (body["room_id"] as string) : null;
  }

  /** Deletes a room as the homeserver's operator does; returns when it is gone. */
  async deleteRoom(matrixRoomId: string, options: { block: boolean; purge: boolean }): Promise<void> {
    const { accessToken } = await this.registerUnknownUser("operator", "Operator", { isAdmin: true });
    const admin = "/_synapse/admin/v2/rooms";
    const path = `${admin}/${encodeURIComponent(matrixRoomId)}`;
    const { status, body } = await this.call("DELETE", path, accessToken, options);
    if (status !== 200) throw new Error(`deleting a room was answered ${status}: ${JSON.stringify(body)}`);
    await waitUntil("the room is deleted", async () => {
      const answer = await this.call(
        "GET",
        `${admin}/delete_status/${String(body["delete_id"])}`,
        accessToken,
      );
      return answer.body["status"] === "complete";
    });
  }

  /** Registers an account that no tenant knows. */
  async registerUnknownUser(
    name: string,
    displayName: string,
    { isAdmin = false } = {},
  ): Promise<{ matrixUserId: string; accessToken: string }> {
    const path = "/_synapse/admin/v1/register";
    const nonce = String((await this.call("GET", path, null)).body["nonce"]);
    const username = `${name}_${randomBytes(6).toString("hex")}`;
    const password = randomBytes(16).toString("hex");
    const mac = createHmac("sha1", this.#registrationSecret)
      .update([nonce, username, password, isAdmin ? "admin" : "notadmin"].join("\0"))
      .digest("hex");
    const { status, body } = await this.call("POST", path, null, {
      nonce,
      username,
      password,
      admin: isAdmin,
      mac,
      displayname: displayName,
    });
    if (status !== 200)
      throw new Error(`registering an unknown user was answered ${status}: ${JSON.stringify(body)}`);
    return { matrixUserId: String(body["user_id"]), accessToken: String(body["access_token"]) };
  }
}
